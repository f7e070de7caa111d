"""The states of a GPU worker, as its row says. Pure; how long one rests is `quarantine.py`'s."""

from enum import StrEnum


class WorkerState(StrEnum):
    """Where a worker is. Each comment says what it means and who moves it on."""

    LIVE = "live"  # heard, and takes jobs. Out: its silence, its drain, judge_worker, workers remove
    DRAINING = "draining"  # heard, finishes what it has and takes nothing new. Out: its own word, its silence
    QUARANTINED = (
        "quarantined"  # heard, failed jobs in a row: rests, then one on probation. Out: judge_worker
    )
    GONE = "gone"  # silent for a lease, or let in and not heard yet. Out: its heartbeat
    REMOVED = "removed"  # an operator sent it away: it is not heard. Out: workers add


HEARD = (WorkerState.LIVE, WorkerState.DRAINING, WorkerState.QUARANTINED)
IN_SERVICE = (WorkerState.LIVE, WorkerState.QUARANTINED)
"""Takes jobs, now or when it has rested."""
