"""The models that creators can choose: those of the catalogue that workers serve."""

from collections.abc import Mapping
from dataclasses import replace

from backend.domain.clean_text import shown
from backend.domain.errors import InvalidField
from backend.recipes import CATALOGUE, DEFAULT_RECIPE, Recipe
from backend.services.generation_request import GenerationRequest
from backend.studio import Studio


async def offered_models(studio: Studio) -> Mapping[str, Recipe]:
    """By name, the default first. Before a worker was ever heard it is the embedded model alone: its jobs wait."""
    served = await studio.served.names() & CATALOGUE.keys() or {DEFAULT_RECIPE}
    names = sorted(served, key=lambda name: (name != DEFAULT_RECIPE, CATALOGUE[name].title))
    return {name: CATALOGUE[name] for name in names}


async def of_an_offered_model(studio: Studio, request: GenerationRequest) -> GenerationRequest:
    """The same request, its model one that is offered. Raises `InvalidField` naming those that are."""
    offered = await offered_models(studio)
    if (request.model or DEFAULT_RECIPE) in offered:
        return request
    if request.model is None:
        return replace(request, model=next(iter(offered)))
    known = CATALOGUE.get(request.model)
    why = (
        f"No worker here serves {known.title} ({known.name}) now."
        if known is not None
        else f"There is no model {shown(request.model)!r} here."
    )
    raise InvalidField(f"{why} Models: {', '.join(offered)}.", param="model")
