"""One try at a job on one worker, under a lease and a fencing token."""

from datetime import timedelta
from enum import StrEnum

LEASE = timedelta(seconds=10)
"""A worker that was silent for this long is taken to be gone. Heartbeats come every second."""


class AttemptState(StrEnum):
    """Where an attempt is. All but the first two are ends."""

    ORDERED = (
        "ordered"  # the order was sent. Out: the worker's first heartbeat with it, its report, the reaper
    )
    RUNNING = "running"  # the worker renders. Out: its report, the reaper, cancel
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"  # its lease ran out
    HANDED_BACK = "handed_back"  # the worker stopped at a step boundary, in order
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"


LIVE = frozenset({AttemptState.ORDERED, AttemptState.RUNNING})


class Slot(StrEnum):
    """A worker's two places: what it runs, and what comes next."""

    RUN = "run"
    NEXT = "next"
