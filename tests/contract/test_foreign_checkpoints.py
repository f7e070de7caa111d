"""Checkpoints that another host spoiled: the clip begins anew, and nobody else's is touched."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from backend.recipes import Recipe
from backend.settings import Device
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.diffusers_engine import DiffusersEngine
from gpu_worker.engine import Interruption, RenderRequest, StepBoundary
from tests.contract.test_engine_contract import SPEC, Recorder
from tests.contract.tiny_pipelines import tiny_recipe

KEPT_AT = 3
OTHERS = SPEC.model_copy(update={"prompt": "a blue square", "seed": 12})
Spoiled = Callable[[Checkpoint], Checkpoint]


class _StopHere(Interruption):
    pass


@pytest.fixture(scope="module", params=["ltx", "wan"])
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return tiny_recipe(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def engine() -> DiffusersEngine:
    return DiffusersEngine(Device.CPU)


@pytest.fixture
def kept(engine: DiffusersEngine, recipe: Recipe) -> Checkpoint:
    taken: list[Checkpoint | None] = []

    def stop(boundary: StepBoundary) -> None:
        if boundary.step == KEPT_AT:
            taken.append(boundary.checkpoint())
            raise _StopHere

    with pytest.raises(_StopHere):
        engine.generate(recipe, RenderRequest(spec=SPEC), Recorder(stop))
    assert taken[0] is not None
    return taken[0]


def with_scheduler(**values: Any) -> Spoiled:
    """The scheduler's state with these in it."""

    def spoil(kept: Checkpoint) -> Checkpoint:
        scheduler = kept.state["scheduler"]
        assert isinstance(scheduler, dict)
        return dataclasses.replace(kept, state={**kept.state, "scheduler": {**scheduler, **values}})

    return spoil


def with_state(name: str, value: Any) -> Spoiled:
    return lambda kept: dataclasses.replace(kept, state={**kept.state, name: value})


def with_bytes(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoiled:
    """One of its tensors, as the float32 numbers that it holds, changed."""

    def spoil(kept: Checkpoint) -> Checkpoint:
        numbers = change(np.array(kept.tensors[name]).view(np.float32)).view(np.uint8)
        return dataclasses.replace(kept, tensors={**kept.tensors, name: numbers})

    return spoil


def at_step(step: int) -> Spoiled:
    return lambda kept: dataclasses.replace(kept, step=step)


SPOILED = {
    "a method of the scheduler": with_scheduler(index_for_timestep={"plain": 1}),
    "a method that this run never calls": with_scheduler(_convert_to_karras={"plain": 1}),
    "its step, which this run wraps": with_scheduler(step={"plain": 1}),
    "its configuration": with_scheduler(_internal_dict={"plain": None}),
    "a list for a number": with_scheduler(_begin_index={"list": []}),
    "a step index beyond the schedule": with_scheduler(_step_index={"plain": 10**6}),
    "a tensor that has no name": with_scheduler(_begin_index={"tensor": "none"}),
    "no scheduler": with_state("scheduler", {"plain": 1}),
    "no latents": with_state("latents", None),
    "latents of words": with_state("latents", {"plain": "noise"}),
    "no generator": with_state("generator", {"plain": 1}),
    "no random state": with_state("torch_rng", {"tuple": []}),
    "latents that are no numbers": with_bytes("latents", lambda numbers: numbers * np.float32("nan")),
    "other noise levels": with_bytes("scheduler.sigmas", lambda numbers: numbers * np.float32(0.5)),
    "a step beyond the last": at_step(99),
    "a step before the first": at_step(-2),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_the_clip_begins_anew_and_later_clips_are_as_they_would_have_been(
    engine: DiffusersEngine, recipe: Recipe, kept: Checkpoint, spoil: Spoiled
) -> None:
    whole = engine.generate(recipe, RenderRequest(spec=SPEC), Recorder()).frames
    others = engine.generate(recipe, RenderRequest(spec=OTHERS), Recorder()).frames
    spoiled = Checkpoint.from_bytes(spoil(kept).to_bytes())
    hooks = Recorder()
    clip = engine.generate(recipe, RenderRequest(spec=SPEC, checkpoint=spoiled), hooks)
    assert clip.resumed_from_step == 0
    assert hooks.steps[-SPEC.num_inference_steps :] == [(step, 5) for step in range(1, 6)]
    assert np.array_equal(clip.frames, whole)
    again = engine.generate(recipe, RenderRequest(spec=OTHERS), Recorder()).frames
    assert np.array_equal(again, others)


@pytest.mark.parametrize("name", ["sigma_min", "lower_order_nums", "new"])
def test_what_a_checkpoint_says_of_the_scheduler_holds_for_its_own_clip_alone(
    engine: DiffusersEngine, recipe: Recipe, kept: Checkpoint, name: str
) -> None:
    scheduler = engine._pipeline(recipe).scheduler
    before, random = dict(vars(scheduler)), torch.get_rng_state()
    spoiled = with_scheduler(**{name: {"plain": 1}})(kept)
    engine.generate(recipe, RenderRequest(spec=SPEC, checkpoint=spoiled), Recorder())
    assert vars(scheduler).keys() == before.keys()
    assert all(vars(scheduler)[key] is value for key, value in before.items())
    assert torch.equal(torch.get_rng_state(), random)


def test_what_a_hook_raises_after_a_resume_is_not_taken_for_a_bad_checkpoint(
    engine: DiffusersEngine, recipe: Recipe, kept: Checkpoint
) -> None:
    def fail(boundary: StepBoundary) -> None:
        raise ZeroDivisionError

    hooks = Recorder(fail)
    with pytest.raises(ZeroDivisionError):
        engine.generate(recipe, RenderRequest(spec=SPEC, checkpoint=kept), hooks)
    assert hooks.steps == [(KEPT_AT + 1, 5)]
