"""A spec survives its JSON, and nothing else is taken for one."""

import json
from typing import Any

import pytest

from backend.domain.spec import ConditioningImage, GenerationSpec, UnreadableSpec

SPEC = GenerationSpec(
    width=256,
    height=192,
    num_frames=17,
    fps=8,
    num_inference_steps=16,
    guidance_scale=3.5,
    seed=7,
    conditioning=(ConditioningImage(upload_id="up_1", frame_index=-1, strength=0.5),),
)


def test_a_spec_is_read_back_equal_from_its_json() -> None:
    written = json.loads(json.dumps(SPEC.to_json()))
    assert written["version"] == 1
    assert GenerationSpec.from_json(written) == SPEC
    assert (SPEC.size, SPEC.upload_ids) == ("256x192", ("up_1",))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"width": "256"},
        {"seed": 1.5},
        {"fps": True},
        {"guidance_scale": None},
        {"conditioning": None},
        {"conditioning": [{"frame_index": 0, "strength": 1}]},
        {"conditioning": ["up_1"]},
    ],
)
def test_what_is_no_spec_of_a_known_version_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnreadableSpec):
        GenerationSpec.from_json({**SPEC.to_json(), **change})


@pytest.mark.parametrize("missing", ["width", "num_frames", "seed", "conditioning", "version"])
def test_a_spec_without_one_of_its_fields_is_refused(missing: str) -> None:
    data = SPEC.to_json()
    del data[missing]
    with pytest.raises(UnreadableSpec):
        GenerationSpec.from_json(data)
