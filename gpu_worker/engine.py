"""What the worker's loop asks of an engine: load a recipe, render requests, stop at any step boundary.

An engine holds no policy. At each step boundary it calls the hooks, and what they raise takes their clip out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from backend.contracts import AttemptPhase, FailureCause, Hardware, RenderSpec
from backend.recipes import Recipe
from gpu_worker.checkpoint import Checkpoint

Frames: TypeAlias = npt.NDArray[np.uint8]
"""Pictures in time, [frames, height, width, 3], RGB."""


class EngineError(Exception):
    """An attempt that an engine could not finish, and why."""

    def __init__(self, cause: FailureCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Interruption(Exception):
    """Raised by a hook: its clip is not wanted any further. Others in the same pass go on."""


@dataclass(frozen=True, kw_only=True)
class ConditioningImage:
    """A creator's image, decoded: RGB [height, width, 3], to be held at `frame_index` (0 or more)."""

    pixels: npt.NDArray[np.uint8]
    frame_index: int
    strength: float


@dataclass(frozen=True, kw_only=True)
class RenderRequest:
    """One clip to render. A checkpoint that does not fit is ignored: the clip then starts at step 0.

    `saves_memory`: with the recipe's memory switches, after it ran out of memory without them.
    """

    spec: RenderSpec
    images: tuple[ConditioningImage, ...] = ()
    checkpoint: Checkpoint | None = None
    saves_memory: bool = False


@dataclass(frozen=True, kw_only=True)
class EngineClip:
    """A finished clip and how it came about. `exact_resume` is False where a resume may differ in bits.

    Times are this clip's share of what the pass took.
    """

    frames: Frames
    steps: int
    resumed_from_step: int = 0
    exact_resume: bool = True
    text_s: float = 0.0
    denoise_s: float = 0.0
    decode_s: float = 0.0


class StepBoundary(Protocol):
    """A run between two steps. What it offers is valid only during the hook's call."""

    @property
    def step(self) -> int:
        """Steps finished, counted from the clip's beginning also after a resume."""
        ...

    @property
    def steps(self) -> int:
        """Steps of the whole clip."""
        ...

    @property
    def resumed_from_step(self) -> int:
        """The step that this run went on from; 0 when it began anew."""
        ...

    def checkpoint(self) -> Checkpoint | None:
        """The state to go on from later, copied; None where this run can't be resumed."""
        ...

    def preview(self) -> Frames:
        """A cheap guess of the finished clip, of any size and number of frames."""
        ...


class Hooks(Protocol):
    """What the loop wants to hear from a run, called on the engine's thread."""

    def on_phase(self, phase: AttemptPhase) -> None:
        """The run enters a phase."""
        ...

    def on_step(self, boundary: StepBoundary) -> None:
        """A step is finished. An `Interruption` raised here takes this clip out; anything else ends the pass."""
        ...


@dataclass(frozen=True, kw_only=True)
class Member:
    """One clip of a pass, and who hears of it."""

    request: RenderRequest
    hooks: Hooks


Rendered: TypeAlias = EngineClip | Interruption | EngineError
"""What became of one member of a pass."""


def only_clip(rendered: Sequence[Rendered]) -> EngineClip:
    """The clip of a pass of one. Raises what took it out."""
    (became,) = rendered
    if isinstance(became, Exception):
        raise became
    return became


class Engine(Protocol):
    """Renders clips, one pass at a time, on one thread."""

    @property
    def hardware(self) -> Hardware:
        """The machine as the scheduler must know it."""
        ...

    def identity(self, recipe: Recipe) -> str:
        """Names all that must be equal for a checkpoint to go on bit for bit, apart from the request."""
        ...

    def resident(self) -> tuple[str, ...]:
        """Recipes whose weights are in memory. Called from other threads too."""
        ...

    def missing(self, recipe: Recipe) -> str | None:
        """What someone must do before this machine can serve the recipe; None when it can. Quick."""
        ...

    def load(self, recipe: Recipe) -> None:
        """Bring the weights into memory. Raises `EngineError` (model_unavailable, out_of_memory)."""
        ...

    def generate(self, recipe: Recipe, request: RenderRequest, hooks: Hooks) -> EngineClip:
        """Render one clip of a loaded recipe. Raises `EngineError`, or what the hooks raised."""
        ...

    def generate_batch(self, recipe: Recipe, members: Sequence[Member]) -> Sequence[Rendered]:
        """Render clips in one pass: what became of each, in order.

        Several are alike in size, frames, steps and guidance, and have neither images nor checkpoints. A member that
        an `Interruption` or its own latents (no numbers) take out is answered with that; the others go on. What ends
        the pass for all is raised: `EngineError`, or what a hook raised.
        """
        ...
