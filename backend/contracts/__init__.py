"""Messages between the control plane and GPU workers. Versioned: a reader ignores fields it does not know."""

from backend.contracts.heartbeat import AttemptPhase, AttemptStatus, CheckpointRef, Hardware, Heartbeat
from backend.contracts.order import Conditioning, Order, OrderObjects, RenderSpec, ResumeFrom, SignedObject
from backend.contracts.report import FailureCause, Outcome, Report, ReportedArtifact, StageTimings
from backend.contracts.wire import PROTOCOL_VERSION, Mailbox, parse_uplink
from backend.contracts.wish import Wish, Wishes

__all__ = [
    "PROTOCOL_VERSION",
    "AttemptPhase",
    "AttemptStatus",
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
