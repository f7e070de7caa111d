"""Whom to stop for a job that would otherwise pass its tier's ceiling. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend.domain.scheduling import FairQueue, QueuedJob, WorkerView

LOOK_AHEAD_S = 60.0
MOST_STOPS = 2
LEAST_LEFT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A job on a worker. `left_s`: seconds until it is done; `stop_s`: what stopping costs; `stopped`: times so far."""

    worker: WorkerView
    job: QueuedJob
    left_s: float
    stop_s: float
    stopped: int = 0


def choose_victim(queue: FairQueue, runs: Sequence[Run], now_s: float) -> Run | None:
    """The run to stop now, or None.

    Only for a job whose tier is inside its share and which no worker would take before its ceiling. The victim is
    of the tier furthest over its share, and among those the one that stops cheapest; nobody is stopped more than
    twice, nor shortly before the end.
    """
    urgent = queue.most_urgent(now_s, LOOK_AHEAD_S)
    if urgent is None:
        return None
    own_lead = queue.lead_gpu_s(urgent.tier)
    able = [run for run in runs if run.worker.serves(urgent)]
    if any(run.left_s <= LEAST_LEFT_S for run in able):
        return None
    over = [
        run
        for run in able
        if run.job.tier != urgent.tier
        and run.stopped < MOST_STOPS
        and run.left_s > 3 * run.stop_s
        and queue.lead_gpu_s(run.job.tier) > own_lead
    ]
    return min(
        over,
        key=lambda run: (-queue.lead_gpu_s(run.job.tier), run.stop_s, run.job.job_id),
        default=None,
    )
