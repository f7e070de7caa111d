"""What a worker says about itself once a second, and at every step that it wants seen at once."""

from enum import StrEnum

from pydantic import Field

from backend.contracts.message import Envelope, Message


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

    key: str
    step: int
    sha256: str
    size_bytes: int
    identity: str


class AttemptStatus(Message):
    """One attempt as the worker sees it. `step` counts finished steps of `steps`."""

    attempt_id: str
    job_id: str
    fence: int
    phase: AttemptPhase
    step: int = 0
    steps: int = 0
    step_s: float | None = None
    preview_version: int = 0
    checkpoint: CheckpointRef | None = None
    resumed_from_step: int = 0


class Hardware(Message):
    """What the scheduler must know of the machine. `hardware_class` joins the checkpoint identity."""

    hardware_class: str
    device: str
    memory_gb: float


class Heartbeat(Envelope):
    """State, not events: losing one loses nothing. `seq` grows within one `boot_id`."""

    kind: str = "heartbeat"
    worker_id: str
    boot_id: str
    seq: int
    version: str
    hardware: Hardware
    recipes: tuple[str, ...]
    resident: tuple[str, ...] = ()
    loading: str | None = None
    draining: bool = False
    attempts: tuple[AttemptStatus, ...] = Field(default=())
