"""What every engine promises the worker's loop; the fake and the real one are held to the same."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.contracts import AttemptPhase, FailureCause, RenderSpec
from backend.recipes import CATALOGUE, Recipe, Weights
from backend.settings import Device
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.engine import (
    ConditioningImage,
    Engine,
    EngineClip,
    EngineError,
    Interruption,
    Member,
    RenderRequest,
    StepBoundary,
)
from gpu_worker.fake_engine import FakeEngine, FakeSettings

CHECKOUT = Path(__file__).resolve().parents[2]
KINDS = ("fake", "ltx", "ltx_condition", "wan")
SPEC = RenderSpec(
    prompt="a red circle moving right",
    width=64,
    height=32,
    num_frames=9,
    fps=8,
    num_inference_steps=5,
    guidance_scale=2.0,
    seed=11,
)


class _StopHere(Exception):
    pass


class _TakenOut(Interruption):
    pass


class Recorder:
    """Hooks that remember, and can act at a step."""

    def __init__(self, at_step: Callable[[StepBoundary], None] = lambda boundary: None) -> None:
        self.phases: list[AttemptPhase] = []
        self.steps: list[tuple[int, int]] = []
        self._at_step = at_step

    def on_phase(self, phase: AttemptPhase) -> None:
        self.phases.append(phase)

    def on_step(self, boundary: StepBoundary) -> None:
        self.steps.append((boundary.step, boundary.steps))
        self._at_step(boundary)


@pytest.fixture(scope="module", params=KINDS)
def engine_and_recipe(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Engine, Recipe]:
    if request.param == "fake":
        return FakeEngine(FakeSettings(step_s=0.0)), CATALOGUE["mini"]
    from gpu_worker.diffusers_engine import DiffusersEngine
    from tests.contract.tiny_pipelines import tiny_recipe

    return DiffusersEngine(Device.CPU), tiny_recipe(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def engine(engine_and_recipe: tuple[Engine, Recipe]) -> Engine:
    engine, recipe = engine_and_recipe
    engine.load(recipe)
    return engine


@pytest.fixture
def recipe(engine_and_recipe: tuple[Engine, Recipe]) -> Recipe:
    return engine_and_recipe[1]


def test_renders_frames_of_the_size_asked_for(engine: Engine, recipe: Recipe) -> None:
    hooks = Recorder()
    clip = engine.generate(recipe, RenderRequest(spec=SPEC), hooks)
    assert clip.frames.shape == (9, 32, 64, 3)
    assert clip.frames.dtype == np.uint8
    assert (clip.steps, clip.resumed_from_step, clip.exact_resume) == (5, 0, True)
    assert hooks.steps == [(step, 5) for step in range(1, 6)]
    assert hooks.phases == [AttemptPhase.ENCODING_TEXT, AttemptPhase.DENOISING, AttemptPhase.DECODING]


def test_the_same_request_gives_the_same_bits_and_another_seed_others(engine: Engine, recipe: Recipe) -> None:
    first = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames
    again = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames
    other = engine.generate(
        recipe, RenderRequest(spec=SPEC.model_copy(update={"seed": 12})), Recorder()
    ).frames
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_a_hook_raises_ends_the_run_and_spares_the_next(engine: Engine, recipe: Recipe) -> None:
    whole = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames

    def stop(boundary: StepBoundary) -> None:
        if boundary.step == 2:
            raise _StopHere

    hooks = Recorder(stop)
    with pytest.raises(_StopHere):
        engine.generate(recipe, RenderRequest(spec=SPEC), hooks)
    assert hooks.steps == [(1, 5), (2, 5)]
    assert np.array_equal(engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames, whole)


@pytest.mark.parametrize("stop_at", [1, 3, 4, 5])
def test_goes_on_from_a_checkpoint_bit_for_bit(engine: Engine, recipe: Recipe, stop_at: int) -> None:
    whole = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames
    kept = _stopped_at(engine, recipe, SPEC, stop_at)
    engine.generate(recipe, RenderRequest(spec=SPEC.model_copy(update={"seed": 99})), Recorder())
    hooks = Recorder()
    request = RenderRequest(spec=SPEC, checkpoint=Checkpoint.from_bytes(kept.to_bytes()))
    clip = engine.generate(recipe, request, hooks)
    assert np.array_equal(clip.frames, whole)
    assert clip.resumed_from_step == stop_at
    assert hooks.steps == [(step, 5) for step in range(stop_at + 1, 6)]


def test_a_checkpoint_taken_in_passing_changes_nothing(engine: Engine, recipe: Recipe) -> None:
    whole = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames
    watched = Recorder(lambda boundary: (boundary.checkpoint(), boundary.preview()))
    assert np.array_equal(engine.generate(recipe, RenderRequest(spec=SPEC), watched).frames, whole)


@pytest.mark.parametrize("change", [{"prompt": "a blue square"}, {"seed": 12}, {"num_inference_steps": 6}])
def test_a_checkpoint_of_another_request_starts_again(
    engine: Engine, recipe: Recipe, change: dict[str, object]
) -> None:
    kept = _stopped_at(engine, recipe, SPEC, 3)
    other = SPEC.model_copy(update=change)
    whole = engine.generate(recipe, RenderRequest(spec=other), Recorder()).frames
    clip = engine.generate(recipe, RenderRequest(spec=other, checkpoint=kept), Recorder())
    assert clip.resumed_from_step == 0
    assert np.array_equal(clip.frames, whole)


def test_a_checkpoint_of_another_identity_starts_again(engine: Engine, recipe: Recipe) -> None:
    kept = dataclasses.replace(_stopped_at(engine, recipe, SPEC, 3), identity="elsewhere")
    assert (
        engine.generate(recipe, RenderRequest(spec=SPEC, checkpoint=kept), Recorder()).resumed_from_step == 0
    )


def test_previews_are_pictures(engine: Engine, recipe: Recipe) -> None:
    previews = []
    engine.generate(recipe, RenderRequest(spec=SPEC), Recorder(lambda b: previews.append(b.preview())))
    assert len(previews) == 5
    for frames in previews:
        assert frames.ndim == 4
        assert frames.shape[-1] == 3
        assert frames.dtype == np.uint8


def test_says_what_is_resident(engine: Engine, recipe: Recipe) -> None:
    assert engine.resident() == (recipe.name,)
    assert engine.missing(recipe) is None


def test_identity_tells_revisions_apart(engine: Engine, recipe: Recipe) -> None:
    assert engine.identity(recipe) == engine.identity(recipe)
    assert engine.identity(recipe) != engine.identity(dataclasses.replace(recipe, revision="next"))


# Several clips in one pass

OTHER = SPEC.model_copy(update={"prompt": "a blue square", "negative_prompt": "red", "seed": 12})
THIRD = SPEC.model_copy(update={"prompt": "a circle on a background", "seed": 13})


def _member(spec: RenderSpec, hooks: Recorder | None = None) -> Member:
    return Member(request=RenderRequest(spec=spec), hooks=hooks or Recorder())


def _assert_close_to_its_single_run(engine: Engine, recipe: Recipe, became: object, spec: RenderSpec) -> None:
    assert isinstance(became, EngineClip)
    alone = engine.generate(recipe, RenderRequest(spec=spec), Recorder()).frames
    # Sums of a batch may be rounded otherwise.
    assert np.abs(became.frames.astype(int) - alone.astype(int)).max() <= 2


def test_a_batch_gives_each_member_its_own_clip(engine: Engine, recipe: Recipe) -> None:
    hooks = [Recorder(), Recorder()]
    first, other = engine.generate_batch(recipe, [_member(SPEC, hooks[0]), _member(OTHER, hooks[1])])
    _assert_close_to_its_single_run(engine, recipe, first, SPEC)
    _assert_close_to_its_single_run(engine, recipe, other, OTHER)
    for each in hooks:
        assert each.steps == [(step, 5) for step in range(1, 6)]
        assert each.phases == [AttemptPhase.ENCODING_TEXT, AttemptPhase.DENOISING, AttemptPhase.DECODING]


def test_members_of_a_batch_have_previews_of_their_own(engine: Engine, recipe: Recipe) -> None:
    def previews(*specs: RenderSpec) -> list[np.ndarray]:
        taken: list[np.ndarray] = []
        watched = [Recorder(lambda boundary: taken.append(boundary.preview())) for _spec in specs]
        engine.generate_batch(recipe, [_member(s, h) for s, h in zip(specs, watched, strict=True)])
        return taken

    together = previews(SPEC, OTHER)
    for alone, in_batch in ((previews(SPEC), together[::2]), (previews(OTHER), together[1::2])):
        for one, other in zip(alone, in_batch, strict=True):
            assert np.abs(one.astype(int) - other.astype(int)).mean() < 2


def test_a_member_that_its_hook_takes_out_leaves_the_others_their_clips(
    engine: Engine, recipe: Recipe
) -> None:
    def leave(boundary: StepBoundary) -> None:
        if boundary.step == 2:
            raise _TakenOut

    left, stayed = Recorder(leave), Recorder()
    first, other = engine.generate_batch(recipe, [_member(SPEC, left), _member(OTHER, stayed)])
    assert isinstance(first, _TakenOut)
    assert left.steps == [(1, 5), (2, 5)]
    assert AttemptPhase.DECODING not in left.phases
    _assert_close_to_its_single_run(engine, recipe, other, OTHER)


def test_a_batch_that_nobody_wants_any_more_ends(engine: Engine, recipe: Recipe) -> None:
    def leave_at(step: int) -> Recorder:
        def leave(boundary: StepBoundary) -> None:
            if boundary.step == step:
                raise _TakenOut

        return Recorder(leave)

    first, last = leave_at(2), leave_at(3)
    became = engine.generate_batch(recipe, [_member(SPEC, first), _member(OTHER, last)])
    assert [type(each) for each in became] == [_TakenOut, _TakenOut]
    assert last.steps == [(1, 5), (2, 5), (3, 5)]
    _assert_close_to_its_single_run(engine, recipe, engine.generate_batch(recipe, [_member(SPEC)])[0], SPEC)


def test_latents_of_a_member_that_are_not_numbers_take_only_it_out(engine: Engine, recipe: Recipe) -> None:
    def poison(boundary: StepBoundary) -> None:
        latents = boundary.latents if hasattr(boundary, "latents") else _latents_of(boundary)
        latents[:] = float("nan")

    steps = [Recorder(), Recorder(poison), Recorder()]
    specs = (SPEC, OTHER, THIRD)
    first, poisoned, third = engine.generate_batch(
        recipe, [_member(spec, hooks) for spec, hooks in zip(specs, steps, strict=True)]
    )
    assert isinstance(poisoned, EngineError)
    assert poisoned.cause is FailureCause.NOT_A_NUMBER
    assert steps[1].steps == [(1, 5)]
    _assert_close_to_its_single_run(engine, recipe, first, SPEC)
    _assert_close_to_its_single_run(engine, recipe, third, THIRD)


def _latents_of(boundary: StepBoundary) -> Any:
    """The row of the live latents that belongs to this member."""
    index = boundary._index  # type: ignore[attr-defined]  # the engine's own, to break it
    return boundary._rendering.state.latents[index]  # type: ignore[attr-defined]  # likewise


@pytest.mark.parametrize("stop_at", [1, 4])
def test_a_member_goes_on_alone_from_its_checkpoint_and_says_whether_bit_for_bit(
    engine: Engine, recipe: Recipe, stop_at: int
) -> None:
    taken: list[Checkpoint | None] = []

    def keep(boundary: StepBoundary) -> None:
        if boundary.step == stop_at:
            taken.append(boundary.checkpoint())
            raise _TakenOut

    engine.generate_batch(recipe, [_member(SPEC), _member(OTHER, Recorder(keep)), _member(THIRD)])
    (kept,) = taken
    assert kept is not None
    hooks = Recorder()
    request = RenderRequest(spec=OTHER, checkpoint=Checkpoint.from_bytes(kept.to_bytes()))
    clip = engine.generate(recipe, request, hooks)
    assert hooks.steps == [(step, 5) for step in range(stop_at + 1, 6)]
    assert clip.resumed_from_step == stop_at
    assert clip.exact_resume is isinstance(engine, FakeEngine)
    _assert_close_to_its_single_run(engine, recipe, clip, OTHER)


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("engine_and_recipe", ["ltx_condition"], indirect=True)
def test_conditioning_images_are_used_and_resumed_exactly(
    engine: Engine, recipe: Recipe, strength: float
) -> None:
    red = np.full((32, 64, 3), (250, 20, 20), np.uint8)
    images = tuple(
        ConditioningImage(pixels=red, frame_index=index, strength=strength)
        for index in (0, SPEC.num_frames - 1)
    )
    plain = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames
    whole = engine.generate(recipe, RenderRequest(spec=SPEC, images=images), Recorder()).frames
    assert not np.array_equal(plain, whole)
    kept = _stopped_at(engine, recipe, SPEC, 3, images)
    clip = engine.generate(recipe, RenderRequest(spec=SPEC, images=images, checkpoint=kept), Recorder())
    assert np.array_equal(clip.frames, whole)
    assert clip.exact_resume


@pytest.mark.parametrize("engine_and_recipe", ["wan"], indirect=True)
def test_an_image_for_a_model_that_takes_none_is_refused(engine: Engine, recipe: Recipe) -> None:
    image = ConditioningImage(pixels=np.zeros((32, 64, 3), np.uint8), frame_index=0, strength=1.0)
    with pytest.raises(EngineError) as refused:
        engine.generate(recipe, RenderRequest(spec=SPEC, images=(image,)), Recorder())
    assert refused.value.cause is FailureCause.BAD_ORDER


@pytest.mark.parametrize("engine_and_recipe", ["ltx"], indirect=True)
def test_latents_that_are_not_numbers_end_the_run(engine: Engine, recipe: Recipe) -> None:
    with pytest.raises(EngineError) as failed:
        engine.generate(
            recipe, RenderRequest(spec=SPEC.model_copy(update={"guidance_scale": float("inf")})), Recorder()
        )
    assert failed.value.cause is FailureCause.NOT_A_NUMBER


@pytest.mark.parametrize("engine_and_recipe", ["ltx"], indirect=True)
def test_missing_weights_say_what_to_run(engine: Engine, recipe: Recipe, tmp_path: Path) -> None:
    absent = dataclasses.replace(recipe, name="absent", weights=Weights(folder=str(tmp_path)))
    unpulled = dataclasses.replace(recipe, name="unpulled", weights=Weights(hub_id="nobody/nothing"))
    for each, remedy in ((absent, "docs/models.md"), (unpulled, "zoetrope models pull unpulled")):
        assert remedy in (engine.missing(each) or "")
        with pytest.raises(EngineError) as failed:
            engine.load(each)
        assert failed.value.cause is FailureCause.MODEL_UNAVAILABLE
        assert remedy in str(failed.value)


_IN_ANOTHER_PROCESS = """
import sys, pathlib, numpy
from tests.contract.test_engine_contract import SPEC, Recorder
from tests.contract.tiny_pipelines import tiny_recipe
from backend.settings import Device
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.diffusers_engine import DiffusersEngine
from gpu_worker.engine import RenderRequest
kind, weights, checkpoint, out = sys.argv[1:]
engine, recipe = DiffusersEngine(Device.CPU), tiny_recipe(kind, pathlib.Path(weights))
kept = Checkpoint.from_bytes(pathlib.Path(checkpoint).read_bytes())
clip = engine.generate(recipe, RenderRequest(spec=SPEC, checkpoint=kept), Recorder())
assert clip.resumed_from_step == kept.step, clip.resumed_from_step
numpy.save(out, clip.frames)
"""


@pytest.mark.parametrize("engine_and_recipe", ["ltx_condition", "wan"], indirect=True)
def test_another_process_goes_on_bit_for_bit(engine: Engine, recipe: Recipe, tmp_path: Path) -> None:
    whole = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames
    checkpoint, out = tmp_path / "checkpoint", tmp_path / "frames.npy"
    checkpoint.write_bytes(_stopped_at(engine, recipe, SPEC, 3).to_bytes())
    kind = recipe.name.removeprefix("tiny-").replace("-", "_")
    arguments = [kind, str(tmp_path / "weights"), str(checkpoint), str(out)]
    subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS, *arguments], cwd=CHECKOUT, check=True, timeout=180
    )
    assert np.array_equal(np.load(out), whole)


def _stopped_at(
    engine: Engine,
    recipe: Recipe,
    spec: RenderSpec,
    step: int,
    images: tuple[ConditioningImage, ...] = (),
) -> Checkpoint:
    taken: list[Checkpoint] = []

    def stop(boundary: StepBoundary) -> None:
        if boundary.step == step:
            checkpoint = boundary.checkpoint()
            assert checkpoint is not None
            taken.append(checkpoint)
            raise _StopHere

    with pytest.raises(_StopHere):
        engine.generate(recipe, RenderRequest(spec=spec, images=images), Recorder(stop))
    return taken[0]
