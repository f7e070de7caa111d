"""What can be simulated: the studio's own fair queue, and the two policies that it is measured against."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from heapq import heappop, heappush
from typing import Protocol

from backend.domain.scheduling import FairQueue, QueuedJob, WorkerView
from backend.domain.shares import TierShare


class PolicyName(StrEnum):
    """The policies on offer."""

    FIFO = "fifo"
    PRIORITY = "priority"
    FAIR = "fair"


class Policy(Protocol):
    """The part of `FairQueue` that the simulator drives."""

    def __len__(self) -> int: ...

    def serve(self, workers: Iterable[WorkerView]) -> None:
        """Say who lives."""

    def add(self, job: QueuedJob) -> None:
        """Put a job in line."""

    def remove(self, job_id: str) -> None:
        """The job ended."""

    def start(self, job: QueuedJob, now_s: float) -> None:
        """The job went to a worker."""

    def next_start(self, workers: Sequence[WorkerView], now_s: float) -> tuple[WorkerView, QueuedJob] | None:
        """Which worker gets which job now; None when there is nothing to give."""


class OrderedQueue:
    """First come, first served among jobs of equal rank; the first idle worker that can run a job takes it."""

    def __init__(self, rank: Mapping[str, float]) -> None:
        self._rank = rank
        self._lines: dict[float, list[tuple[float, float, str]]] = {}
        self._jobs: dict[str, QueuedJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def serve(self, workers: Iterable[WorkerView]) -> None:
        """Nothing here depends on who lives."""

    def add(self, job: QueuedJob) -> None:
        """Put a job in line."""
        self._jobs[job.job_id] = job
        line = self._lines.setdefault(job.memory_gb, [])
        heappush(line, (-self._rank.get(job.tier, 1.0), job.submitted_s, job.job_id))

    def remove(self, job_id: str) -> None:
        """The job ended."""
        self._jobs.pop(job_id, None)

    def start(self, job: QueuedJob, now_s: float) -> None:
        """The job went to a worker."""
        self.remove(job.job_id)

    def next_start(self, workers: Sequence[WorkerView], now_s: float) -> tuple[WorkerView, QueuedJob] | None:
        """The job at the front, on the first idle worker that can run it."""
        idle = sorted(
            (w for w in workers if w.free and w.busy_s <= 0), key=lambda w: (w.memory_gb, w.worker_id)
        )
        best: tuple[tuple[float, float, str], QueuedJob, WorkerView] | None = None
        for line in self._lines.values():
            while line and line[0][2] not in self._jobs:
                heappop(line)
            if not line:
                continue
            job = self._jobs[line[0][2]]
            worker = next((w for w in idle if w.serves(job)), None)
            if worker is not None and (best is None or line[0] < best[0]):
                best = (line[0], job, worker)
        return None if best is None else (best[2], best[1])


def make_policy(name: PolicyName, shares: Mapping[str, TierShare]) -> Policy:
    """The policy called so."""
    match name:
        case PolicyName.FAIR:
            return FairQueue(shares)
        case PolicyName.PRIORITY:
            return OrderedQueue({tier: share.weight for tier, share in shares.items()})
        case PolicyName.FIFO:
            return OrderedQueue({})
