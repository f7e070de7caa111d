"""The raw estimate of a job's end, from its place and the workers that could run it. `eta` puts it right. Pure."""

import math
from collections.abc import Sequence

from backend.domain.pace import Pace
from backend.domain.scheduling import Place, QueuedJob, WorkerView

AS_DECLARED = Pace()


def estimate_end_s(
    job: QueuedJob,
    place: Place,
    workers: Sequence[WorkerView],
    *,
    competing_gpu_s: float,
    starts_within_s: float = math.inf,
    not_before_s: float = 0.0,
    pace: Pace = AS_DECLARED,
    mix: Pace = AS_DECLARED,
) -> float:
    """Seconds until `job` is done if nothing else comes; infinite where nobody can run it.

    `competing_gpu_s`: the waiting work of all jobs that the same workers could run. `starts_within_s`: when it goes
    before others at the latest. `not_before_s`: when its account's own limit lets it start. `pace`: of this job; `mix`:
    of the work before it.
    """
    able = [worker for worker in workers if worker.serves(job)]
    if not able:
        return math.inf
    before_gpu_s = min(place.gpu_s_before, competing_gpu_s)
    jobs_before = ((place.position or 1) - 1) * (
        before_gpu_s / place.gpu_s_before if before_gpu_s > 0 else 0.0
    )
    before_s = mix.seconds(before_gpu_s, jobs_before)
    soonest_s = min(worker.busy_s for worker in able)
    wait_s = 0.0
    if before_s > 0 or soonest_s > 0:
        wait_s = (before_s + sum(worker.busy_s for worker in able)) / len(able)
        wait_s = max(soonest_s, min(wait_s, starts_within_s))
    wait_s = max(wait_s, not_before_s)
    warm = any(job.recipe in worker.resident for worker in able)
    return wait_s + (0.0 if warm else job.load_s) + pace.seconds(job.gpu_s)
