"""The catalogue of recipes. A new model is one recipe file and one line here."""

from types import MappingProxyType

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

CATALOGUE: MappingProxyType[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (MINI,)})
DEFAULT_RECIPE = MINI.name

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
]
