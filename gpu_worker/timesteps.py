"""Schedules given to a pipeline as timesteps: shifted ones, and the noise levels that belong to any."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

TRAIN_TIMESTEPS = 1000


def shifted_timesteps(steps: int, shift: float) -> list[float]:
    """Timesteps from 1000 downwards that stay long at high noise, where a clip's contents are decided."""
    levels = [1.0 - index / steps for index in range(steps)]
    return [TRAIN_TIMESTEPS * shift * level / (1.0 + (shift - 1.0) * level) for level in levels]


def with_sigmas(set_timesteps: Callable[..., None]) -> Callable[..., None]:
    """A scheduler's `set_timesteps` that says, with given timesteps, also their noise levels.

    Pipelines pass timesteps alone, and then diffusers warns at every clip that it derives the levels itself. What it
    derives are these, to the bit.
    """

    @functools.wraps(set_timesteps)
    def consistent(*args: Any, **kwargs: Any) -> None:
        timesteps: Sequence[float] | None = kwargs.get("timesteps")
        if timesteps is not None and kwargs.get("sigmas") is None:
            kwargs["sigmas"] = list(np.asarray(timesteps, np.float32) / TRAIN_TIMESTEPS)
        set_timesteps(*args, **kwargs)

    return consistent
