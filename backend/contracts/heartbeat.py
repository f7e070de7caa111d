"""What a worker says about itself once a second, and at every step that it wants seen at once."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from backend.contracts.bounds import (
    MAX_ATTEMPTS,
    MAX_RECIPES,
    Ident,
    Line,
    Number,
    ObjectKey,
    Seconds,
    Sha256,
    SizeBytes,
    Steps,
    WorkerId,
)
from backend.contracts.message import Envelope, Message

_Recipes = Annotated[tuple[Ident, ...], Field(max_length=MAX_RECIPES)]


class AttemptPhase(StrEnum):
    """Where an attempt stands inside the worker."""

    RECEIVED = "received"
    LOADING = "loading"
    ENCODING_TEXT = "encoding_text"
    DENOISING = "denoising"
    DECODING = "decoding"
    UPLOADING = "uploading"
    REPORTED = "reported"


class CheckpointRef(Message):
    """A checkpoint that is durable in storage: latents and sampler state after `step` steps."""

    key: ObjectKey
    step: Steps
    sha256: Sha256
    size_bytes: SizeBytes
    identity: Line


class AttemptStatus(Message):
    """One attempt as the worker sees it. `step` counts finished steps of `steps`."""

    attempt_id: Ident
    job_id: Ident
    fence: Number
    phase: AttemptPhase
    step: Steps = 0
    steps: Steps = 0
    step_s: Seconds | None = None
    preview_version: Number = 0
    checkpoint: CheckpointRef | None = None
    resumed_from_step: Steps = 0


class Hardware(Message):
    """What the scheduler must know of the machine. `hardware_class` joins the checkpoint identity."""

    hardware_class: Line
    device: Line
    memory_gb: float = Field(ge=0, le=100_000)


class Heartbeat(Envelope):
    """State, not events: losing one loses nothing. `seq` grows within one `boot_id`."""

    kind: Literal["heartbeat"] = "heartbeat"
    worker_id: WorkerId
    boot_id: Ident
    seq: int = Field(ge=0, le=2**53)
    version: Line
    hardware: Hardware
    recipes: _Recipes
    resident: _Recipes = ()
    loading: Ident | None = None
    draining: bool = False
    attempts: tuple[AttemptStatus, ...] = Field(default=(), max_length=MAX_ATTEMPTS)
