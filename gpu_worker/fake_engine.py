"""An engine without a model, held to the same contract suite as the real one: tests and storms run on it.

Its clips are moving pictures that follow from the seed alone, and it can be told to fail as engines fail.
"""

import hashlib
import os
import platform
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.contracts import AttemptPhase, FailureCause, Hardware, RenderSpec
from backend.recipes import Recipe
from gpu_worker.checkpoint import Checkpoint, request_fingerprint
from gpu_worker.engine import (
    EngineClip,
    EngineError,
    Frames,
    Hooks,
    Interruption,
    Member,
    Rendered,
    RenderRequest,
    only_clip,
)

_GRID = 8


class Fault(StrEnum):
    """A way to go wrong at a step."""

    NONE = "none"
    RAISE = "raise"
    NAN = "nan"
    OOM = "oom"
    HANG = "hang"
    KILL = "kill"


class FakeSettings(BaseSettings):
    """How the fake behaves; environment variables `ZOETROPE_FAKE_*`, for tests alone.

    A pass takes `step_s` a step, however many clips are in it. `fault_prompt`: only clips whose prompt holds this go
    wrong.
    """

    model_config = SettingsConfigDict(env_prefix="ZOETROPE_FAKE_", frozen=True, extra="ignore")

    start_s: float = Field(default=0.0, ge=0)
    step_s: float = Field(default=0.02, ge=0)
    load_s: float = Field(default=0.0, ge=0)
    decode_s: float = Field(default=0.0, ge=0)
    fault: Fault = Fault.NONE
    fault_step: int = 3
    fault_prompt: str = ""
    hardware_class: str = "fake"
    memory_gb: float = 16.0


class FakeEngine:
    """Renders a coloured square that drifts, one denoising step at a time."""

    def __init__(self, settings: FakeSettings | None = None) -> None:
        self._settings = settings or FakeSettings()
        self._resident: tuple[str, ...] = ()
        self._never = threading.Event()
        time.sleep(self._settings.start_s)

    @property
    def hardware(self) -> Hardware:
        """A machine of a class of its own."""
        return Hardware(
            hardware_class=self._settings.hardware_class,
            device=f"fake on {platform.machine()}",
            memory_gb=self._settings.memory_gb,
        )

    def identity(self, recipe: Recipe) -> str:
        """Recipe and hardware class; there are no libraries to differ."""
        return f"{recipe.name}@{recipe.revision}/fake-1/{self._settings.hardware_class}"

    def resident(self) -> tuple[str, ...]:
        """Every recipe ever loaded."""
        return self._resident

    def missing(self, recipe: Recipe) -> None:
        """It needs no weights."""
        return None

    def load(self, recipe: Recipe) -> None:
        """Take as long as it was told to."""
        if recipe.name not in self._resident:
            time.sleep(self._settings.load_s)
            self._resident = (*self._resident, recipe.name)

    def generate(self, recipe: Recipe, request: RenderRequest, hooks: Hooks) -> EngineClip:
        """Draw the clip that follows from the spec."""
        return only_clip(self.generate_batch(recipe, [Member(request=request, hooks=hooks)]))

    def generate_batch(self, recipe: Recipe, members: Sequence[Member]) -> Sequence[Rendered]:
        """Draw all of them in the time of one. Each comes out as it would alone."""
        drawings = [_Drawing(member, self.identity(recipe)) for member in members]
        for drawing in drawings:
            drawing.hooks.on_phase(AttemptPhase.ENCODING_TEXT)
        for drawing in drawings:
            drawing.hooks.on_phase(AttemptPhase.DENOISING)
        started = time.monotonic()
        for step in range(min(d.first_step for d in drawings) + 1, drawings[0].steps + 1):
            if not (present := [d for d in drawings if d.taken_out is None]):
                break
            time.sleep(self._settings.step_s)
            for drawing in present:
                if step == self._settings.fault_step and self._settings.fault_prompt in drawing.spec.prompt:
                    drawing.latents = self._go_wrong(drawing.latents)
                drawing.take_step(step)
        denoised = time.monotonic()
        present = [d for d in drawings if d.taken_out is None]
        for drawing in present:
            drawing.hooks.on_phase(AttemptPhase.DECODING)
        if present:
            time.sleep(self._settings.decode_s)
        denoise_s, decode_s = denoised - started, time.monotonic() - denoised
        return [d.taken_out or d.clip(denoise_s / len(drawings), decode_s / len(drawings)) for d in drawings]

    def _go_wrong(self, latents: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        match self._settings.fault:
            case Fault.RAISE:
                raise EngineError(FailureCause.ENGINE_ERROR, "the fake engine was told to fail")
            case Fault.OOM:
                raise EngineError(FailureCause.OUT_OF_MEMORY, "the fake engine was told to run out of memory")
            case Fault.NAN:
                return latents * np.nan
            case Fault.HANG:
                self._never.wait()
            case Fault.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Fault.NONE:
                pass
        return latents


class _Drawing:
    """One clip of a pass: its latents, and what took it out, if anything did."""

    def __init__(self, member: Member, identity: str) -> None:
        self.spec = member.request.spec
        self.steps = self.spec.num_inference_steps
        self.hooks = member.hooks
        self.taken_out: Interruption | EngineError | None = None
        self._images = member.request.images
        self._identity = identity
        self._fingerprint = request_fingerprint(self.spec)
        self.latents, self.first_step = _initial_latents(self.spec), 0
        resume = member.request.checkpoint
        if resume is not None and resume.fits(identity, self._fingerprint):
            self.latents = np.array(resume.tensors["latents"], dtype=np.float64)
            self.first_step = resume.step

    def take_step(self, step: int) -> None:
        self.latents = np.sin(self.latents * 1.7 + step)
        if not np.isfinite(self.latents).all():
            self.taken_out = EngineError(FailureCause.NOT_A_NUMBER, f"latents are not finite at step {step}")
            return
        boundary = _FakeBoundary(
            step=step,
            steps=self.steps,
            resumed_from_step=self.first_step,
            spec=self.spec,
            latents=self.latents,
            identity=self._identity,
            request=self._fingerprint,
        )
        try:
            self.hooks.on_step(boundary)
        except Interruption as asked:
            self.taken_out = asked

    def clip(self, denoise_s: float, decode_s: float) -> EngineClip:
        frames = _draw(self.spec, self.latents)
        for image in self._images:
            corner = frames[image.frame_index, : self.spec.height // 8, : self.spec.width // 8]
            corner[:] = image.pixels.mean(axis=(0, 1))
        return EngineClip(
            frames=frames,
            steps=self.steps,
            resumed_from_step=self.first_step,
            denoise_s=denoise_s,
            decode_s=decode_s,
        )


@dataclass(frozen=True, kw_only=True)
class _FakeBoundary:
    step: int
    steps: int
    resumed_from_step: int
    spec: RenderSpec
    latents: npt.NDArray[np.float64]
    identity: str
    request: str

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            step=self.step,
            identity=self.identity,
            request=self.request,
            tensors={"latents": self.latents.copy()},
            state={"fake": True},
        )

    def preview(self) -> Frames:
        return _draw(self.spec, self.latents)[:1]


def _initial_latents(spec: RenderSpec) -> npt.NDArray[np.float64]:
    words = hashlib.sha256(f"{spec.prompt}\0{spec.negative_prompt}\0{spec.guidance_scale}".encode()).digest()
    random = np.random.default_rng([spec.seed, int.from_bytes(words[:8], "little")])
    return random.standard_normal((_GRID, _GRID))


def _draw(spec: RenderSpec, latents: npt.NDArray[np.float64]) -> Frames:
    tone = ((latents - latents.min()) / max(float(np.ptp(latents)), 1e-9) * 255).astype(np.uint8)
    rows = np.arange(spec.height) * _GRID // spec.height
    columns = np.arange(spec.width) * _GRID // spec.width
    ground = tone[rows[:, None], columns[None, :]]
    frames = np.stack([ground, ground[::-1], ground[:, ::-1]], axis=-1)[None].repeat(spec.num_frames, axis=0)
    side = max(2, min(spec.width, spec.height) // 4)
    for index, frame in enumerate(frames):
        left = (spec.width - side) * index // max(1, spec.num_frames - 1)
        top = (spec.height - side) // 2
        frame[top : top + side, left : left + side] = tone[:3, 0]
    return np.ascontiguousarray(frames)
