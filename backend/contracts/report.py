"""How an attempt ended. Laid beside the clip in storage and sent until a `Wishes` acknowledges it."""

from enum import StrEnum

from backend.contracts.heartbeat import CheckpointRef
from backend.contracts.message import Envelope, Message


class Outcome(StrEnum):
    """The end of an attempt, as the worker knows it."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    HANDED_BACK = "handed_back"
    PREEMPTED = "preempted"


class FailureCause(StrEnum):
    """Why an attempt failed: those of `domain.attempt.Cause` that a worker can know."""

    OUT_OF_MEMORY = "out_of_memory"
    MODEL_UNAVAILABLE = "model_unavailable"
    BAD_ORDER = "bad_order"
    BAD_INPUT = "bad_input"
    NOT_A_NUMBER = "not_a_number"
    ENGINE_ERROR = "engine_error"
    STORAGE_ERROR = "storage_error"


class ReportedArtifact(Message):
    """One object that the attempt wrote. `kind` is video, thumbnail or spritesheet (`columns` pictures a row)."""

    kind: str
    key: str
    sha256: str
    size_bytes: int
    content_type: str
    width: int
    height: int
    num_frames: int = 1
    fps: float = 0.0
    duration_s: float = 0.0
    columns: int = 1


class StageTimings(Message):
    """Seconds a stage, for speeds and ETAs; never for prices. `checkpoint_s`: what they took from the GPU.

    Of what a batch did together, each member's report counts its share.
    """

    load_s: float = 0.0
    text_s: float = 0.0
    denoise_s: float = 0.0
    decode_s: float = 0.0
    encode_s: float = 0.0
    upload_s: float = 0.0
    checkpoint_s: float = 0.0


class Report(Envelope):
    """The last word of a worker on an attempt. `steps_done` is what a partial charge counts."""

    kind: str = "report"
    worker_id: str
    boot_id: str
    attempt_id: str
    job_id: str
    fence: int
    outcome: Outcome
    cause: FailureCause | None = None
    message: str = ""
    steps_done: int = 0
    steps: int = 0
    resumed_from_step: int = 0
    exact_resume: bool = True
    identity: str = ""
    artifacts: tuple[ReportedArtifact, ...] = ()
    checkpoint: CheckpointRef | None = None
    timings: StageTimings = StageTimings()
