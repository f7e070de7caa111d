"""`/v1/models`: what can be asked of this studio, and with which values."""

from fastapi import APIRouter, Depends

from backend.api.dependencies import Reader
from backend.api.limits import coarse_limit
from backend.api.schemas import ModelOut, ModelPageOut, model_out
from backend.domain.clean_text import shown
from backend.domain.errors import NotFound
from backend.recipes import CATALOGUE

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(coarse_limit)])


@router.get("")
async def list_models(_principal: Reader) -> ModelPageOut:
    """All models, with their sizes, lengths and ranges."""
    return ModelPageOut(data=[model_out(recipe) for recipe in CATALOGUE.values()])


@router.get("/{model_id}")
async def retrieve_model(model_id: str, _principal: Reader) -> ModelOut:
    """One model."""
    recipe = CATALOGUE.get(model_id)
    if recipe is None:
        raise NotFound(
            f"There is no model {shown(model_id)!r}. Models: {', '.join(CATALOGUE)}.", param="model"
        )
    return model_out(recipe)
