"""`/v1/models`: what can be asked of this studio, and with which values."""

from fastapi import APIRouter, Depends

from backend.api.dependencies import Reader, StudioDep
from backend.api.limits import coarse_limit
from backend.api.schemas import ModelOut, ModelPageOut, model_out
from backend.domain.clean_text import shown
from backend.domain.errors import NotFound
from backend.services.offered_models import offered_models

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(coarse_limit)])


@router.get("")
async def list_models(_principal: Reader, studio: StudioDep) -> ModelPageOut:
    """The models that workers serve now, the default first, with their sizes, lengths and ranges."""
    return ModelPageOut(data=[model_out(recipe) for recipe in (await offered_models(studio)).values()])


@router.get("/{model_id}")
async def retrieve_model(model_id: str, _principal: Reader, studio: StudioDep) -> ModelOut:
    """One model that workers serve now."""
    offered = await offered_models(studio)
    recipe = offered.get(model_id)
    if recipe is None:
        raise NotFound(
            f"There is no model {shown(model_id)!r} now. Models: {', '.join(offered)}.", param="model"
        )
    return model_out(recipe)
