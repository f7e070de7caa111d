"""Every recipe of the catalogue obeys its family's rules, and one that doesn't can't be written."""

from dataclasses import replace

import pytest

from backend.domain.tiers import DEFAULT_TIER, TIERS
from backend.recipes import CATALOGUE, DEFAULT_RECIPE, Length, Range, Recipe, Size
from backend.services.generation_request import GenerationRequest, resolve

EVERY = pytest.mark.parametrize("recipe", CATALOGUE.values(), ids=CATALOGUE.keys())
# Pixels that sizes are multiples of, and frames: 4k + 1, 8k + 1.
FAMILIES = {"mini": ({32}, 8), "wan": ({16, 32}, 4), "ltx": ({32}, 8)}


@EVERY
def test_sizes_and_lengths_obey_the_familys_rules(recipe: Recipe) -> None:
    pixels, frames = FAMILIES[recipe.family]
    assert recipe.pixel_multiple in pixels
    assert recipe.frame_multiple == frames
    for size in recipe.sizes:
        assert size.width % recipe.pixel_multiple == size.height % recipe.pixel_multiple == 0
    assert all(length.num_frames % frames == 1 for length in recipe.lengths)


@EVERY
def test_says_where_its_weights_are_and_which(recipe: Recipe) -> None:
    weights = recipe.weights
    assert (weights.folder is None) != (weights.hub_id is None)
    if weights.hub_id is not None:
        # A branch would move under a recipe whose revision promises the same pixels.
        assert len(weights.hub_revision) == 40
        assert set(weights.hub_revision) <= set("0123456789abcdef")


@EVERY
def test_its_defaults_make_a_request_that_somebody_may_send(recipe: Recipe) -> None:
    request = GenerationRequest(prompt="a cat", model=recipe.name)
    resolved = resolve(request, TIERS["internal"])
    assert resolved.quoted >= 1
    assert resolved.num_inference_steps == recipe.steps.default
    assert recipe.draft_steps is None or recipe.steps.low <= recipe.draft_steps < recipe.steps.default


@EVERY
def test_a_month_of_free_credits_makes_a_clip_or_the_tier_refuses_its_size(recipe: Recipe) -> None:
    """Of the large one a free account makes none: said here, so that nobody changes it unaware."""
    smallest = min(recipe.sizes, key=lambda size: size.width * size.height)
    tier = replace(TIERS[DEFAULT_TIER], max_pixels=smallest.width * smallest.height)
    request = GenerationRequest(prompt="a cat", model=recipe.name, size=str(smallest))
    assert (resolve(request, tier).quoted <= tier.monthly_grant) is (recipe.name != "wan-2.1-14b")


@EVERY
def test_a_cpu_is_asked_for_the_embedded_model_alone(recipe: Recipe) -> None:
    assert recipe.needs_gpu is (recipe.name != DEFAULT_RECIPE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sizes": (Size(width=640, height=360),)}, "640x360 is no multiple of 16"),
        ({"lengths": (Length(seconds="5", num_frames=80),)}, "80 frames are not 4k"),
        ({"lengths": (Length(seconds="4", num_frames=81),)}, "81 frames are 5.06 s, not 4 s"),
        ({"steps": Range(low=10, high=40, default=50)}, "50 is not from 10 to 40"),
    ],
)
def test_a_recipe_that_its_pipeline_would_round_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(CATALOGUE["wan-2.1-1.3b"], **change)  # type: ignore[arg-type]  # one of its fields
