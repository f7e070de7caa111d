"""How the fair queue does with very many jobs: `python tools/bench_scheduler.py [JOBS] [ACCOUNTS]`. CPU time."""

import random
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from backend.domain.scheduling import FairQueue, QueuedJob, WorkerView
from backend.domain.shares import TierShare
from backend.domain.tiers import TIERS

T = TypeVar("T")
MODELS = [f"model-{rank}" for rank in range(12)]
MEMORY_GB = (12.0, 24.0, 48.0, 80.0)


def main(jobs: int, accounts: int) -> None:
    """Fill, pick, place; print the figures."""
    rng = random.Random(1)
    tiers = [name for name in TIERS if name != "internal"]
    waiting = []
    for index in range(jobs):
        account, model = rng.randrange(accounts), min(len(MODELS) - 1, int(rng.expovariate(0.4)))
        tier = tiers[account % len(tiers)]
        waiting.append(
            QueuedJob(
                job_id=f"video_{index:020d}",
                account_id=f"acct_{account:016d}",
                tier=tier,
                recipe=MODELS[model],
                memory_gb=MEMORY_GB[model % len(MEMORY_GB)],
                gpu_s=5 + rng.random() * 80,
                submitted_s=index / 100,
                concurrency_limit=TIERS[tier].concurrency_limit,
                load_s=23.0,
            )
        )
    queue = FairQueue({name: TierShare.of(TIERS[name]) for name in tiers})
    fleet = [_worker(index, busy_s=10.0) for index in range(64)]
    queue.serve(fleet)
    began = time.process_time()
    queue.enter(waiting)
    for _pause in queue.line_up(jobs / 100):
        pass
    print(f"restore {jobs} jobs of {accounts} accounts: {time.process_time() - began:.1f} s")
    now_s, picks, starts, places = jobs / 100, [], [], []
    for index in range(2000):
        now_s += 0.1
        idle = index % len(fleet)
        views = [*fleet[:idle], _worker(idle, busy_s=0.0), *fleet[idle + 1 :]]
        took, found = _timed(lambda views=views, now_s=now_s: queue.next_start(views, now_s))
        picks.append(took)
        if found is None:
            continue
        took, _none = _timed(lambda found=found, now_s=now_s: queue.start(found[1], now_s))
        starts.append(took)
        queue.remove(found[1].job_id)
    for job in rng.sample(waiting, 2000):
        took, _place = _timed(lambda job=job: queue.place(job.job_id, now_s))
        places.append(took)
    for name, found_s in (("decide", picks), ("start", starts), ("place", places)):
        found_s.sort()
        half, most = found_s[len(found_s) // 2], found_s[int(len(found_s) * 0.99)]
        print(f"{name}: p50 {half * 1e6:.0f} us, p99 {most * 1e6:.0f} us")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def _worker(index: int, *, busy_s: float) -> WorkerView:
    return WorkerView(
        worker_id=f"w{index:02}",
        recipes=frozenset(MODELS),
        memory_gb=80,
        resident=frozenset({MODELS[index % len(MODELS)]}),
        busy_s=busy_s,
    )


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [1_000_000, 10_000][len(arguments) :]))
