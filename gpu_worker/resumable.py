"""Stop and resume a diffusers pipeline between steps, bit for bit, by wrapping three methods of the live one.

Not by `latents=` and the remaining timesteps: schedulers shift those again, and a multistep history is lost.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from gpu_worker.checkpoint import Checkpoint, Json
from gpu_worker.tensor_state import Arrays, BadStateError, pack, unpack
from gpu_worker.timesteps import with_sigmas

_NOT_STATE = frozenset({"_internal_dict", "step", "set_timesteps"})
_SCHEDULE = ("timesteps", "sigmas")


class UnfitCheckpointError(Exception):
    """The checkpoint was made under another schedule than this run's, or holds what no run of it could have kept."""


class ResumableRun:
    """One run of a pipeline, of as many clips as it has generators: counts its steps, and can say what to keep of a
    clip to go on with it later. Only a run of one resumes. Whoever wrote the checkpoint had the pipeline's scheduler in
    hand for this run alone: it is put back as it was.

    `on_boundary` is called after every step, when `latents` are what the next step will get. Pipelines that
    change the scheduler's result (LTX keeps its conditioned tokens) say so through `callback_on_step_end`;
    those without that callback are taken to carry the result on as it is.
    """

    def __init__(
        self,
        pipe: Any,
        generators: Sequence[torch.Generator],
        resume: Checkpoint | None,
        on_boundary: Callable[[], None],
        on_prepared: Callable[[], None] = lambda: None,
    ) -> None:
        self.steps = 0
        self.step = 0 if resume is None else resume.step
        self.latents: torch.Tensor | None = None
        self.sample: torch.Tensor | None = None
        self.stepped: tuple[torch.Tensor, ...] = ()
        self._pipe = pipe
        self._scheduler = pipe.scheduler
        self._generators = tuple(generators)
        self._resume = resume
        self._on_boundary = on_boundary
        self._on_prepared = on_prepared
        self._full_timesteps: torch.Tensor | None = None
        self._restored = resume is None
        parameters = inspect.signature(type(pipe).__call__).parameters
        self._has_callback = "callback_on_step_end" in parameters

    @contextmanager
    def installed(self) -> Iterator[dict[str, Any]]:
        """The wrappers in place; yields the arguments that the pipeline's call needs besides its own."""
        scheduler, pipe = self._scheduler, self._pipe
        before = dict(vars(scheduler))
        scheduler.set_timesteps = self._wrap_set_timesteps(scheduler.set_timesteps)
        scheduler.step = self._wrap_step(scheduler.step)
        pipe.prepare_latents = self._wrap_prepare_latents(pipe.prepare_latents)
        try:
            devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
            with torch.random.fork_rng(devices, enabled=self._resume is not None):
                yield {"callback_on_step_end": self._callback} if self._has_callback else {}
        finally:
            del pipe.prepare_latents
            vars(scheduler).clear()
            vars(scheduler).update(before)

    def snapshot(self, member: int = 0) -> tuple[Arrays, dict[str, Json]]:
        """One clip's latents, scheduler, generator and global random states, copied. Raises `UnknownStateError`."""
        assert self.latents is not None
        arrays: Arrays = {}
        scheduler = {
            name: pack(self._of_member(value, member), f"scheduler.{name}", arrays)
            for name, value in vars(self._scheduler).items()
            if name not in _NOT_STATE
        }
        state: dict[str, Json] = {
            "scheduler": scheduler,
            "latents": pack(self._of_member(self.latents, member), "latents", arrays),
            "generator": pack(self._generators[member].get_state(), "generator", arrays),
            "torch_rng": pack(torch.get_rng_state(), "torch_rng", arrays),
        }
        if torch.cuda.is_available():
            state["cuda_rng"] = pack(torch.cuda.get_rng_state(), "cuda_rng", arrays)
        return arrays, state

    def _of_member(self, value: object, member: int) -> object:
        """What of a scheduler's state is this clip's: of all that has the latents' shape, its row."""
        assert self.latents is not None
        if isinstance(value, list | tuple):
            return type(value)(self._of_member(each, member) for each in value)
        if isinstance(value, torch.Tensor) and value.shape == self.latents.shape:
            return value[member : member + 1]
        return value

    def sigma_pair(self) -> tuple[float, float] | None:
        """Noise level before and after the step just done, where the scheduler has such."""
        sigmas = getattr(self._scheduler, "sigmas", None)
        if sigmas is None or not 0 < self.step < len(sigmas):
            return None
        return float(sigmas[self.step - 1]), float(sigmas[self.step])

    def _wrap_set_timesteps(self, original: Callable[..., None]) -> Callable[..., None]:
        takes_both = {"timesteps", "sigmas"} <= inspect.signature(original).parameters.keys()
        given = with_sigmas(original) if takes_both else original

        @functools.wraps(original)
        def set_timesteps(*args: Any, **kwargs: Any) -> None:
            given(*args, **kwargs)
            full = self._scheduler.timesteps
            self._full_timesteps, self.steps = full, len(full)
            if self._resume is not None:
                self._check_schedule(self._resume)
                if not 0 <= self._resume.step <= len(full):
                    raise UnfitCheckpointError(f"step {self._resume.step} of {len(full)}")
                self._scheduler.timesteps = full[self._resume.step :]

        return set_timesteps

    def _check_schedule(self, resume: Checkpoint) -> None:
        kept = _of_scheduler(resume)
        for name in _SCHEDULE:
            now = getattr(self._scheduler, name, None)
            if now is None:
                continue
            then = _unpacked(resume, kept.get(name), name)
            if not (isinstance(then, torch.Tensor) and then.dtype == now.dtype and then.shape == now.shape):
                raise UnfitCheckpointError(f"its {name} are of another kind than this run's")
            if not torch.equal(then.to(now.device), now):
                raise UnfitCheckpointError(f"its {name} differ from this run's")

    def _wrap_prepare_latents(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def prepare_latents(*args: Any, **kwargs: Any) -> Any:
            prepared = original(*args, **kwargs)
            resume = self._resume
            if resume is not None:
                fresh = prepared[0] if isinstance(prepared, tuple) else prepared
                kept = _unpacked(resume, resume.state.get("latents"), "latents")
                if not (
                    isinstance(kept, torch.Tensor) and kept.shape == fresh.shape and kept.dtype == fresh.dtype
                ):
                    raise UnfitCheckpointError("its latents have another shape than this run's")
                kept = kept.to(fresh.device)
                prepared = (kept, *prepared[1:]) if isinstance(prepared, tuple) else kept
                _set_random(self._generators[0].set_state, resume, "generator")
            self._on_prepared()
            return prepared

        return prepare_latents

    def _wrap_step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._restored:
                self._restore(sample)
            result = original(model_output, timestep, sample, *args, **kwargs)
            self.sample = sample
            self.stepped = tuple(result) if isinstance(result, tuple) else (result.prev_sample,)
            self.step += 1
            if not self._has_callback:
                self.latents = self.stepped[0]
                self._on_boundary()
            return result

        return step

    def _restore(self, sample: torch.Tensor) -> None:
        """The scheduler as it was kept: what it has already, and what it makes as it steps, nothing else."""
        resume, scheduler = self._resume, self._scheduler
        assert resume is not None
        for name, packed in _of_scheduler(resume).items():
            if name in _SCHEDULE:
                continue
            value = _unpacked(resume, packed, name)
            is_its = name in vars(scheduler) or not hasattr(type(scheduler), name)
            if name in _NOT_STATE or not is_its:
                raise UnfitCheckpointError(f"{name} is no state of {type(scheduler).__name__}")
            if not _could_become(vars(scheduler).get(name), value, sample):
                raise UnfitCheckpointError(f"its {name} is of another kind than this run's")
            setattr(scheduler, name, value)
        # UniPC and DPM read the schedule's length while they step.
        scheduler.timesteps = self._full_timesteps
        _set_random(torch.set_rng_state, resume, "torch_rng")
        if "cuda_rng" in resume.state and torch.cuda.is_available():
            _set_random(torch.cuda.set_rng_state, resume, "cuda_rng")
        self._restored = True

    def _callback(self, _pipe: Any, _index: int, _timestep: Any, carried: dict[str, Any]) -> dict[str, Any]:
        self.latents = carried["latents"]
        self._on_boundary()
        return {}


def _of_scheduler(resume: Checkpoint) -> dict[str, Json]:
    kept = resume.state.get("scheduler")
    if not isinstance(kept, dict):
        raise UnfitCheckpointError("it holds no scheduler")
    return kept


def _unpacked(resume: Checkpoint, packed: Json, name: str) -> Any:
    try:
        return unpack(packed, resume.tensors)
    except BadStateError as error:
        raise UnfitCheckpointError(f"its {name} can't be read: {error}") from error


def _set_random(set_state: Callable[[torch.Tensor], object], resume: Checkpoint, name: str) -> None:
    state = _unpacked(resume, resume.state.get(name), name)
    try:
        set_state(state)
    except (RuntimeError, TypeError) as error:
        raise UnfitCheckpointError(f"its {name} is no state of random numbers") from error


def _could_become(now: object, then: object, sample: torch.Tensor) -> bool:
    """Whether steps could have made `then` of what the scheduler has at the beginning; a history begins as None."""
    if isinstance(now, list | tuple):
        return (
            isinstance(then, list | tuple)
            and (type(then), len(then)) == (type(now), len(now))
            and all(_could_become(*pair, sample) for pair in zip(now, then, strict=True))
        )
    if isinstance(then, torch.Tensor):
        if now is None:
            return then.numel() == 1 or then.shape == sample.shape
        return isinstance(now, torch.Tensor) and (now.shape, now.dtype, now.device.type) == (
            then.shape,
            then.dtype,
            then.device.type,
        )
    if isinstance(then, np.ndarray):
        return isinstance(now, np.ndarray) and (now.shape, now.dtype) == (then.shape, then.dtype)
    if now is None:
        return then is None or isinstance(then, int | float)
    return type(then) is type(now.item() if isinstance(now, np.generic) else now)
