"""Messages between the control plane and GPU workers. Versioned: a reader ignores fields it does not know."""

from backend.contracts.heartbeat import AttemptPhase, AttemptStatus, CheckpointRef, Hardware, Heartbeat
from backend.contracts.order import (
    MAX_CHECKPOINT_BYTES,
    MAX_CLIP_BYTES,
    MAX_PICTURE_BYTES,
    MAX_PREVIEW_BYTES,
    MAX_REPORT_BYTES,
    PREVIEW_SIDE_PX,
    Batch,
    Conditioning,
    Order,
    OrderObjects,
    RenderSpec,
    ResumeFrom,
    SignedObject,
)
from backend.contracts.report import FailureCause, Outcome, Report, ReportedArtifact, StageTimings
from backend.contracts.wire import Mailbox, parse_uplink
from backend.contracts.wish import Wish, Wishes

__all__ = [
    "MAX_CHECKPOINT_BYTES",
    "MAX_CLIP_BYTES",
    "MAX_PICTURE_BYTES",
    "MAX_PREVIEW_BYTES",
    "MAX_REPORT_BYTES",
    "PREVIEW_SIDE_PX",
    "AttemptPhase",
    "AttemptStatus",
    "Batch",
    "CheckpointRef",
    "Conditioning",
    "FailureCause",
    "Hardware",
    "Heartbeat",
    "Mailbox",
    "Order",
    "OrderObjects",
    "Outcome",
    "RenderSpec",
    "Report",
    "ReportedArtifact",
    "ResumeFrom",
    "SignedObject",
    "StageTimings",
    "Wish",
    "Wishes",
    "parse_uplink",
]
