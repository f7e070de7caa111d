"""What `/v1/models` says of a recipe, as programs read it."""

import json
from datetime import UTC, datetime

import pytest

from backend.api.schemas import model_out
from backend.recipes import CATALOGUE


@pytest.mark.parametrize("name", CATALOGUE)
def test_steps_are_whole_numbers_and_guidance_is_not(name: str) -> None:
    told = json.loads(model_out(CATALOGUE[name]).model_dump_json())
    assert [type(told["num_inference_steps"][key]) for key in ("low", "high", "default")] == [int] * 3
    assert type(told["guidance_scale"]["default"]) is float


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_model_says_when_it_was_first_offered(name: str) -> None:
    told = model_out(CATALOGUE[name]).created
    assert datetime.fromtimestamp(told, UTC).date() == CATALOGUE[name].released
