"""How an attempt ended. Laid beside the clip in storage and sent until a `Wishes` acknowledges it."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from backend.contracts.bounds import (
    MAX_ARTIFACTS,
    MAX_FRAMES,
    Ident,
    Line,
    Number,
    ObjectKey,
    Prose,
    Seconds,
    Sha256,
    SidePx,
    SizeBytes,
    Steps,
    WorkerId,
)
from backend.contracts.heartbeat import CheckpointRef
from backend.contracts.message import Envelope, Message
from backend.domain.clip_shape import MAX_SHEET_PICTURES


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

    kind: Ident
    key: ObjectKey
    sha256: Sha256
    size_bytes: SizeBytes
    content_type: Line
    width: SidePx
    height: SidePx
    num_frames: int = Field(default=1, ge=1, le=MAX_FRAMES)
    fps: float = Field(default=0.0, ge=0, le=1000)
    duration_s: Seconds = 0.0
    columns: int = Field(default=1, ge=1, le=MAX_SHEET_PICTURES)


class StageTimings(Message):
    """Seconds a stage, for speeds and ETAs; never for prices. `checkpoint_s`: what they took from the GPU.

    Of what a batch did together, each member's report counts its share.
    """

    load_s: Seconds = 0.0
    text_s: Seconds = 0.0
    denoise_s: Seconds = 0.0
    decode_s: Seconds = 0.0
    encode_s: Seconds = 0.0
    upload_s: Seconds = 0.0
    checkpoint_s: Seconds = 0.0


class Report(Envelope):
    """The last word of a worker on an attempt. `steps_done` is what a partial charge counts."""

    kind: Literal["report"] = "report"
    worker_id: WorkerId
    boot_id: Ident
    attempt_id: Ident
    job_id: Ident
    fence: Number
    outcome: Outcome
    cause: FailureCause | None = None
    message: Prose = ""
    steps_done: Steps = 0
    resumed_from_step: Steps = 0
    exact_resume: bool = True
    identity: Line = ""
    artifacts: tuple[ReportedArtifact, ...] = Field(default=(), max_length=MAX_ARTIFACTS)
    checkpoint: CheckpointRef | None = None
    timings: StageTimings = StageTimings()
