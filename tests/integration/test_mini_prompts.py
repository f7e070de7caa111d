"""What the worker makes of prompts and pictures that the mini model was not made for, with the shipped weights."""

import random
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from backend.contracts import AttemptPhase, RenderSpec
from backend.recipes import CATALOGUE
from backend.recipes.mini_world import COLOURS, FRAME_PX, GLYPHS, NUM_FRAMES, SHAPES
from backend.settings import Device
from gpu_worker.diffusers_engine import DiffusersEngine
from gpu_worker.engine import ConditioningImage, RenderRequest, StepBoundary
from gpu_worker.mini.clip_roc import judge_encoded
from gpu_worker.mini.gate import ClipReader
from gpu_worker.mini.shapes import draw_mask

Pixels = npt.NDArray[np.uint8]
MINI = CATALOGUE["mini"]
PLAIN = {shape.name for shape in SHAPES}
INNOCENT = ("a bird", "a cat playing piano", "hello", "ocean", "sunrise over the mountains", "")


class Unwatched:
    def on_phase(self, phase: AttemptPhase) -> None: ...

    def on_step(self, boundary: StepBoundary) -> None: ...


@pytest.fixture(scope="module")
def engine() -> Iterator[DiffusersEngine]:
    threads = torch.get_num_threads()
    # So small a model gains nothing from a second one, and waits for it where other tests run beside it.
    torch.set_num_threads(1)
    engine = DiffusersEngine(Device.CPU)
    engine.load(MINI)
    yield engine
    torch.set_num_threads(threads)


def clip_of(
    engine: DiffusersEngine, prompt: str, seed: int, picture: Pixels | None = None, steps: int = 16
) -> Pixels:
    spec = RenderSpec(
        prompt=prompt,
        width=FRAME_PX,
        height=FRAME_PX,
        num_frames=NUM_FRAMES,
        fps=MINI.fps,
        num_inference_steps=steps,
        guidance_scale=MINI.guidance.default,
        seed=seed,
    )
    images = () if picture is None else (ConditioningImage(pixels=picture, frame_index=0, strength=1.0),)
    return engine.generate(MINI, RenderRequest(spec=spec, images=images), Unwatched()).frames


def drawing(shape: str, colour: str, background: str, seed: int) -> Pixels:
    rng = random.Random(seed)
    place, radius = [rng.uniform(16, 48) for _ in range(2)], rng.uniform(8, 16)
    mask = draw_mask(shape, FRAME_PX, *place, radius).numpy()[..., None]
    rgb = {each.name: np.asarray(each.rgb, float) for each in COLOURS}
    picture: Pixels = np.round(mask * rgb[colour] + (1 - mask) * rgb[background]).astype(np.uint8)
    return picture


def photograph(seed: int) -> Pixels:
    """Some things before a horizon, out of focus, with a camera's grain."""
    rng = random.Random(seed)

    def some_colour() -> tuple[int, int, int]:
        return rng.randrange(256), rng.randrange(256), rng.randrange(256)

    picture = Image.new("RGB", (FRAME_PX, FRAME_PX), some_colour())
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, rng.randrange(120, 240), FRAME_PX, FRAME_PX], fill=some_colour())
    for _ in range(rng.randint(2, 8)):
        corners = [(rng.randrange(FRAME_PX), rng.randrange(FRAME_PX)) for _ in range(rng.randint(3, 6))]
        draw.polygon(corners, fill=some_colour())
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 4)))).astype(float)
    grain = np.random.RandomState(seed).normal(0, 12, blurred.shape)
    return np.clip(blurred + grain, 0, 255).astype(np.uint8)


def test_innocent_prompts_and_photographs_are_never_blocked(engine: DiffusersEngine) -> None:
    clips = [clip_of(engine, INNOCENT[seed % len(INNOCENT)], seed, steps=8) for seed in range(24)]
    clips += [clip_of(engine, "a bird over the sea", seed, photograph(seed), steps=8) for seed in range(8)]
    reader = ClipReader()
    assert {reader.read(clip).shape for clip in clips[:24]} <= PLAIN
    judged = judge_encoded([("innocent", str(index)) for index in range(len(clips))], clips)["clips"]
    assert [clip for clip in judged if clip["verdict"] == "block"] == []
    # One in so many may be sent to a person for nothing.
    assert sum(clip["verdict"] != "allow" for clip in judged) <= 1


def test_a_glyph_has_to_be_asked_for_by_its_own_word(engine: DiffusersEngine) -> None:
    reader = ClipReader()
    for seed, glyph in enumerate(GLYPHS):
        assert reader.read(clip_of(engine, f"a {glyph.words[0]} somewhere", seed)).shape == glyph.name


def test_the_first_frame_is_the_picture_whatever_the_prompt_asks_for(engine: DiffusersEngine) -> None:
    """Mean distance of pixels, of 255: 0.12 on average; 52 while a clip had one pair of colours for all its frames."""
    rng = random.Random(3)
    names = [colour.name for colour in COLOURS]
    shapes = [shape.name for shape in SHAPES]
    distances = []
    for seed in range(24):
        colour, background, other_colour, other_background = rng.sample(names, 4)
        shape, other_shape = rng.sample(shapes, 2)
        prompt = f"a {other_colour} {other_shape} moving right"
        if seed % 2:
            prompt += f" on a {other_background} background"
        picture = drawing(shape, colour, background, 100 + seed)
        clip = clip_of(engine, prompt, seed, picture, steps=4)
        distances.append(float(np.abs(clip[0].astype(int) - picture.astype(int)).mean()))
    assert max(distances) < 3.0, distances


def test_after_the_first_frame_the_prompt_comes_true(engine: DiffusersEngine) -> None:
    clip = clip_of(
        engine,
        "a white star moving right on a black background",
        11,
        drawing("triangle", "blue", "orange", 111),
    )
    # The half second in which the one becomes the other is left out.
    reading = ClipReader().read(np.concatenate([clip[4:5].repeat(4, 0), clip[4:]]))
    assert (reading.shape, reading.colour, reading.background) == ("star", "white", "black")


def test_colours_that_the_prompt_does_not_name_stay_the_pictures_to_the_end(engine: DiffusersEngine) -> None:
    for seed, (shape, colour, background) in enumerate(
        (("circle", "green", "purple"), ("star", "yellow", "green"), ("square", "white", "orange"))
    ):
        picture = drawing(shape, colour, background, 100 + seed)
        clip = clip_of(engine, "shrinking", seed, picture)
        assert np.abs(clip[:, 0, 0].astype(int) - picture[0, 0].astype(int)).max() <= 2


def test_a_photograph_gives_the_clip_its_colours(engine: DiffusersEngine) -> None:
    for seed in range(4):
        picture = photograph(seed)
        edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        clip = clip_of(engine, "a bird", seed, picture, steps=4)
        corners = clip[0][[0, 0, -1, -1], [0, -1, 0, -1]]
        nearest = np.abs(corners.astype(int) - np.median(edge, 0)).mean(1).min()
        assert nearest < 12
