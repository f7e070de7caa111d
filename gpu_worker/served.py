"""Which recipes a worker serves, and why not the others: said once, and whenever it changes."""

from collections.abc import Mapping, Sequence

from backend.log import get_logger
from backend.operator_errors import BadSettingError
from backend.recipes import CATALOGUE, Recipe
from gpu_worker.engine import Engine

log = get_logger(__name__)

CPU_CLASSES = "cpu-"
"""How the hardware classes of machines without a GPU begin."""


def chosen_recipes(names: Sequence[str]) -> Mapping[str, Recipe]:
    """Those that ZOETROPE_MODELS names, all of the catalogue where it names none. Raises `BadSettingError`."""
    for name in names:
        if name not in CATALOGUE:
            raise BadSettingError(
                f"ZOETROPE_MODELS names {name!r}, which is no model", f"choose of {', '.join(CATALOGUE)}"
            )
    return {name: recipe for name, recipe in CATALOGUE.items() if not names or name in names}


class Served:
    """What an engine can do with these recipes on its machine."""

    def __init__(self, engine: Engine, recipes: Mapping[str, Recipe]) -> None:
        self._engine = engine
        self._recipes = recipes
        self._obstacles: dict[str, str | None] = {}
        for name in CATALOGUE.keys() - recipes.keys():
            log.info("model.not_served", model=name, reason="ZOETROPE_MODELS leaves it out")

    def look(self) -> tuple[str, ...]:
        """The names of those that it can serve now: weights may have come since it looked last."""
        for name, recipe in self._recipes.items():
            obstacle = self._obstacle(recipe)
            if name in self._obstacles and self._obstacles[name] == obstacle:
                continue
            self._obstacles[name] = obstacle
            if obstacle is None:
                log.info("model.served", model=name)
            else:
                log.info("model.not_served", model=name, reason=obstacle)
        return tuple(name for name, obstacle in self._obstacles.items() if obstacle is None)

    def _obstacle(self, recipe: Recipe) -> str | None:
        hardware = self._engine.hardware
        if recipe.needs_gpu and hardware.hardware_class.startswith(CPU_CLASSES):
            return "it needs a GPU"
        if recipe.memory_gb > hardware.memory_gb:
            return f"it needs {recipe.memory_gb:g} GB; {hardware.device} has {hardware.memory_gb:g} GB"
        return self._engine.missing(recipe)
