"""The worker's intervals, and its patience with others."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds; and how often a report is sent that nobody acknowledges.

    `gather_s`: how long a batch waits for members whose orders have not come.
    """

    heartbeat_s: float = 1.0
    heartbeat_gap_s: float = 0.1
    wishes_s: float = 1.0
    gather_s: float = 1.0
    report_again_s: float = 2.0
    report_sends: int = 900
    stopped_report_sends: int = 3
    register_again_s: float = 30.0
    checkpoint_patience_s: float = 60.0
    preview_patience_s: float = 5.0
    report_object_patience_s: float = 30.0
    drain_s: float = 8.0
    drain_upload_s: float = 4.0
    drain_acknowledge_s: float = 1.0
    stuck_after_s: float = 120.0
