"""The recipes of real models through the real engine and diffusers' own classes, on tiny weights of their shapes."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from sentencepiece import SentencePieceTrainer

from backend.contracts import FailureCause, RenderSpec
from backend.recipes import CATALOGUE, Capability, Recipe
from backend.settings import Device
from backend.weights import missing_weights
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.diffusers_engine import DiffusersEngine
from gpu_worker.engine import ConditioningImage, EngineError, RenderRequest, StepBoundary
from gpu_worker.pipelines import for_images, load_pipeline, named_class
from tests.contract.test_engine_contract import Recorder
from tests.contract.tiny_pipelines import tiny_of

from transformers import T5TokenizerFast  # isort: skip  # after torchvision's shim

SHAPES = ("ltx-0.9.5", "wan-2.1-1.3b", "wan-2.2-5b")
REAL = tuple(name for name, recipe in CATALOGUE.items() if recipe.needs_gpu)
SPEC = RenderSpec(
    prompt="a red circle moving right",
    width=64,
    height=32,
    num_frames=17,
    fps=24,
    num_inference_steps=4,
    guidance_scale=5.0,
    seed=7,
)
RED = np.full((32, 64, 3), (250, 20, 20), np.uint8)
FIRST = (ConditioningImage(pixels=RED, frame_index=0, strength=1.0),)


@pytest.fixture(scope="module")
def engine() -> DiffusersEngine:
    return DiffusersEngine(Device.CPU)


@pytest.fixture(scope="module", params=SHAPES)
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return tiny_of(request.param, tmp_path_factory.mktemp("weights"))


def _images(recipe: Recipe) -> list[tuple[ConditioningImage, ...]]:
    return [(), FIRST] if Capability.IMAGE in recipe.capabilities else [()]


def test_a_clip_has_the_frames_and_the_size_asked_for(engine: DiffusersEngine, recipe: Recipe) -> None:
    for images in _images(recipe):
        hooks = Recorder()
        clip = engine.generate(recipe, RenderRequest(spec=SPEC, images=images), hooks)
        assert clip.frames.shape == (17, 32, 64, 3)
        assert hooks.steps == [(step, 4) for step in range(1, 5)]


def test_it_goes_on_from_a_checkpoint_bit_for_bit(engine: DiffusersEngine, recipe: Recipe) -> None:
    for images in _images(recipe):
        whole = engine.generate(recipe, RenderRequest(spec=SPEC, images=images), Recorder()).frames
        for step in (1, 3):
            kept = Checkpoint.from_bytes(_stopped_at(engine, recipe, step, images).to_bytes())
            request = RenderRequest(spec=SPEC, images=images, checkpoint=kept)
            clip = engine.generate(recipe, request, Recorder())
            assert (clip.resumed_from_step, clip.exact_resume) == (step, True)
            assert np.array_equal(clip.frames, whole)


def test_an_image_is_really_used(engine: DiffusersEngine, recipe: Recipe) -> None:
    if Capability.IMAGE not in recipe.capabilities:
        with pytest.raises(EngineError) as refused:
            engine.generate(recipe, RenderRequest(spec=SPEC, images=FIRST), Recorder())
        assert refused.value.cause is FailureCause.BAD_ORDER
        return
    blue = (ConditioningImage(pixels=RED[..., ::-1].copy(), frame_index=0, strength=1.0),)
    made = [
        engine.generate(recipe, RenderRequest(spec=SPEC, images=images), Recorder()).frames
        for images in ((), FIRST, blue)
    ]
    assert not any(np.array_equal(made[one], made[other]) for one, other in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("recipe", ["wan-2.2-5b"], indirect=True)
def test_an_image_that_the_model_would_leave_aside_is_refused(
    engine: DiffusersEngine, recipe: Recipe
) -> None:
    last = ConditioningImage(pixels=RED, frame_index=SPEC.num_frames - 1, strength=1.0)
    with pytest.raises(EngineError, match="frames") as refused:
        engine.generate(recipe, RenderRequest(spec=SPEC, images=(*FIRST, last)), Recorder())
    assert refused.value.cause is FailureCause.BAD_ORDER


def test_what_the_recipe_says_against_is_said_where_the_creator_says_nothing(
    engine: DiffusersEngine, recipe: Recipe
) -> None:
    by_default = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames
    said = SPEC.model_copy(update={"negative_prompt": recipe.negative_prompt})
    assert np.array_equal(engine.generate(recipe, RenderRequest(spec=said), Recorder()).frames, by_default)
    other = SPEC.model_copy(update={"negative_prompt": "a blue square on background"})
    assert not np.array_equal(
        engine.generate(recipe, RenderRequest(spec=other), Recorder()).frames, by_default
    )


def test_components_have_the_precision_that_the_recipe_asks_for(recipe: Recipe) -> None:
    assert isinstance(recipe.weights.folder, str)
    pipe = load_pipeline(recipe, Path(recipe.weights.folder))
    for made in (pipe, for_images(recipe, pipe)):
        for name in ("text_encoder", "transformer", "vae"):
            wanted = getattr(torch, recipe.component_dtypes.get(name, recipe.dtype))
            assert getattr(made, name).dtype is wanted, name


def test_sizes_and_lengths_are_what_codec_and_patches_take(recipe: Recipe) -> None:
    assert isinstance(recipe.weights.folder, str)
    pipe = load_pipeline(recipe, Path(recipe.weights.folder))
    if recipe.family == "wan":
        patch = pipe.transformer.config.patch_size
        assert recipe.pixel_multiple == pipe.vae_scale_factor_spatial * patch[1]
        assert recipe.frame_multiple == pipe.vae_scale_factor_temporal * patch[0]
    else:
        assert (
            recipe.pixel_multiple == pipe.vae_spatial_compression_ratio * pipe.transformer_spatial_patch_size
        )
        assert (
            recipe.frame_multiple
            == pipe.vae_temporal_compression_ratio * pipe.transformer_temporal_patch_size
        )


def test_its_weights_pass_the_check_of_the_command(recipe: Recipe) -> None:
    assert missing_weights(recipe) is None


@pytest.mark.parametrize("name", REAL)
def test_diffusers_has_the_pipelines_and_they_take_what_the_recipe_passes(name: str) -> None:
    recipe = CATALOGUE[name]
    for spelled in (recipe.pipeline_class, recipe.image_pipeline_class):
        if spelled is None:
            continue
        takes = inspect.signature(named_class(spelled).__call__).parameters
        needed = {"prompt", "width", "height", "num_frames", "num_inference_steps", "guidance_scale"}
        assert needed | set(recipe.call) <= set(takes)
        if Capability.NEGATIVE_PROMPT in recipe.capabilities:
            assert "negative_prompt" in takes
    if Capability.IMAGE in recipe.capabilities:
        takes = inspect.signature(
            named_class(recipe.image_pipeline_class or recipe.pipeline_class).__call__
        ).parameters
        assert {"conditions", "image"} & set(takes)


def test_a_tokenizer_that_comes_as_sentencepiece_alone_is_read(tmp_path: Path) -> None:
    """As LTX-Video's does: without sentencepiece and protobuf transformers can't make one of it."""
    SentencePieceTrainer.train(
        sentence_iterator=iter(["a red circle moving right", "a blue square on a green background"] * 20),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=40,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 100}')
    tokenizer = T5TokenizerFast.from_pretrained(tmp_path)
    assert tokenizer.decode(tokenizer("a red circle")["input_ids"]) == "a red circle</s>"


@pytest.mark.parametrize("name", REAL)
def test_switches_that_save_memory_are_its_codecs(name: str) -> None:
    takes = inspect.signature(named_class(CATALOGUE[name].pipeline_class).__init__).parameters
    codec = takes["vae"].annotation
    for switch in CATALOGUE[name].memory_switches:
        assert hasattr(codec, f"enable_{switch.value.removeprefix('vae_')}")


class _StopHere(Exception):
    pass


def _stopped_at(
    engine: DiffusersEngine, recipe: Recipe, step: int, images: tuple[ConditioningImage, ...]
) -> Checkpoint:
    taken: list[Checkpoint | None] = []

    def stop(boundary: StepBoundary) -> None:
        if boundary.step == step:
            taken.append(boundary.checkpoint())
            raise _StopHere

    with pytest.raises(_StopHere):
        engine.generate(recipe, RenderRequest(spec=SPEC, images=images), Recorder(stop))
    assert taken[0] is not None
    return taken[0]
