"""The shipped mini video model, measured: a small, seeded piece of the gate, and frames given by creators."""

import numpy as np
import pytest
import torch
from PIL import Image

from gpu_worker.mini.gate import Case, ClipReader, generated_clips, held_out_cases, rendered_clips, score
from gpu_worker.mini.pipeline import SHIPPED_WEIGHTS, LTXVideoCondition, call_arguments, load_pipeline

STEPS = 16


@pytest.fixture(scope="module")
def reader() -> ClipReader:
    return ClipReader()


def test_shipped_weights_draw_what_twelve_unseen_prompts_ask_for(reader: ClipReader) -> None:
    cases = held_out_cases(9, 3)
    table = score(cases, [reader.read(clip) for clip in generated_clips(cases)])
    assert table["colour"] == 1.0
    assert table["background"] == 1.0
    assert table["motion"] == 1.0
    assert table["shape"] == 1.0
    assert table["mean_iou"] >= 0.95


def test_a_first_frame_is_where_the_clip_begins(reader: ClipReader) -> None:
    """The prompt says only what moves; place, shape and colours come from the image."""
    still = Case(
        prompt="",
        seed=5,
        shape="square",
        colour="orange",
        background="black",
        motion="still",
        is_glyph=False,
    )
    picture = Image.fromarray(rendered_clips([still])[0][0])
    pipeline = load_pipeline()
    frames = pipeline(
        conditions=[LTXVideoCondition(image=picture, frame_index=0)],
        prompt="growing",
        negative_prompt="",
        **call_arguments(STEPS),
        guidance_scale=1.5,
        generator=torch.Generator().manual_seed(11),
        output_type="np",
    ).frames[0]
    clip = np.round(frames * 255).astype(np.uint8)
    difference = np.abs(clip[0].astype(int) - np.asarray(picture).astype(int)).mean()
    assert difference < 8.0
    reading = reader.read(clip)
    assert (reading.colour, reading.background) == ("orange", "black")


def test_shipped_weights_are_small_enough_for_git() -> None:
    size_bytes = sum(path.stat().st_size for path in SHIPPED_WEIGHTS.rglob("*") if path.is_file())
    assert size_bytes < 17 * 1024 * 1024


def test_weights_load_through_diffusers_alone() -> None:
    from diffusers import DiffusionPipeline

    import gpu_worker.mini  # noqa: F401  # as every process does that renders

    pipeline = DiffusionPipeline.from_pretrained(SHIPPED_WEIGHTS)
    assert type(pipeline).__name__ == "LTXConditionPipeline"
    assert type(pipeline.transformer).__name__ == "MiniVideoTransformer3DModel"
    assert type(pipeline.vae).__name__ == "MiniVideoCodec"
