"""Schedules given as timesteps."""

import logging
from collections.abc import Iterator

import pytest
import torch

from moderation import torch_shim  # isort: skip  # before anything that imports torchvision
from diffusers import FlowMatchEulerDiscreteScheduler

from gpu_worker.timesteps import shifted_timesteps, with_sigmas

torch_shim.install()

LOGGER = "diffusers.schedulers.scheduling_flow_match_euler_discrete"


@pytest.fixture
def warnings_of_the_scheduler() -> Iterator[list[str]]:
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # a list will do
    logger = logging.getLogger(LOGGER)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    yield said
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.mark.parametrize("steps", [1, 7, 16, 400])
def test_given_timesteps_come_with_the_noise_levels_that_would_be_derived(
    steps: int, warnings_of_the_scheduler: list[str]
) -> None:
    timesteps = shifted_timesteps(steps, 6.0)
    said, derived = FlowMatchEulerDiscreteScheduler(), FlowMatchEulerDiscreteScheduler()
    with_sigmas(said.set_timesteps)(timesteps=timesteps)
    assert warnings_of_the_scheduler == []
    derived.set_timesteps(timesteps=timesteps)
    assert torch.equal(said.sigmas, derived.sigmas)
    assert torch.equal(said.timesteps, derived.timesteps)
    assert len(warnings_of_the_scheduler) == 1


def test_a_schedule_that_is_not_given_is_left_alone() -> None:
    ours, theirs = FlowMatchEulerDiscreteScheduler(), FlowMatchEulerDiscreteScheduler()
    with_sigmas(ours.set_timesteps)(9, device="cpu")
    theirs.set_timesteps(9, device="cpu")
    assert torch.equal(ours.sigmas, theirs.sigmas)


def test_shifted_timesteps_begin_in_pure_noise_and_crowd_there() -> None:
    timesteps = shifted_timesteps(16, 6.0)
    assert timesteps[0] == 1000.0
    assert timesteps == sorted(timesteps, reverse=True)
    assert timesteps[8] == pytest.approx(1000 * 6 * 0.5 / 3.5)
    assert shifted_timesteps(4, 1.0) == [1000.0, 750.0, 500.0, 250.0]
