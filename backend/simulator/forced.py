"""The work that capacity alone forces to be refused, whoever decides: what refusals are measured against.

The work asked for, less the most that so many GPUs serve of it before each job's last moment: earliest deadline first
with jobs divided at will, which no schedule of whole jobs exceeds.
"""

import heapq
import math
from collections.abc import Mapping, Sequence

from backend.domain.shares import TierShare
from backend.simulator.trace import TraceJob

Demand = tuple[float, float, float]
"""Arrival and last moment in seconds, work in GPU-seconds."""


def most_served(demands: Sequence[Demand], capacity: float) -> float:
    """GPU-seconds that `capacity` GPUs serve at most before each last moment, where work can be divided at will."""
    ordered = sorted(demands)
    left = [work for _arrival, _last, work in ordered]
    due: list[tuple[float, int]] = []
    at, now, served = 0, 0.0, 0.0
    while at < len(ordered) or due:
        if not due:
            now = max(now, ordered[at][0])
        while at < len(ordered) and ordered[at][0] <= now:
            heapq.heappush(due, (ordered[at][1], at))
            at += 1
        while due and due[0][0] <= now:
            heapq.heappop(due)
        if not due:
            continue
        last, first = due[0]
        arrives = ordered[at][0] if at < len(ordered) else math.inf
        until = min(last, now + left[first] / capacity, arrives)
        done = (until - now) * capacity
        served, left[first], now = served + done, left[first] - done, until
        if left[first] < 1e-9:
            heapq.heappop(due)
    return served


def forced_gpu_s(jobs: Sequence[TraceJob], shares: Mapping[str, TierShare], capacity: float) -> float:
    """What of these jobs' work can't start within its ceilings, whoever decides."""
    demands = [
        (job.arrival_s, job.arrival_s + shares[job.tier].ceiling_s + job.gpu_s, job.gpu_s) for job in jobs
    ]
    return sum(work for _arrival, _last, work in demands) - most_served(demands, capacity)
