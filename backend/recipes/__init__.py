"""The catalogue of recipes. A new model is one recipe file and one line here."""

from types import MappingProxyType

from backend.recipes.ltx import LTX
from backend.recipes.mini import MINI
from backend.recipes.recipe import (
    Capability,
    Cost,
    Length,
    MemorySwitch,
    Preview,
    Range,
    Recipe,
    Size,
    Weights,
)
from backend.recipes.wan import WAN

CATALOGUE: MappingProxyType[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for recipe in (MINI, *LTX, *WAN)}
)
"""Every model this release knows. What creators can choose is what workers serve: `services/offered_models`."""
DEFAULT_RECIPE = MINI.name


def has_small_world(recipe: str) -> bool:
    """Whether this model draws the small world alone, which the classifier that ships here was taught. By name."""
    return recipe == MINI.name


__all__ = [
    "CATALOGUE",
    "DEFAULT_RECIPE",
    "Capability",
    "Cost",
    "Length",
    "MemorySwitch",
    "Preview",
    "Range",
    "Recipe",
    "Size",
    "Weights",
    "has_small_world",
]
