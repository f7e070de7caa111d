"""The fair queue: who is next on a worker, each job's place, and when it will be done. Pure and deterministic.

Two levels of start-time fair queueing, both counted in GPU-seconds: tiers by weight (with a floor), and inside
a tier the accounts, equally. An account that was idle comes back at the current minimum, so nobody saves up.
A worker may prefer a model that it has loaded, within `affinity_gpu_s` of unfairness.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

AFFINITY_GPU_S = 30.0
"""How far behind its turn, in GPU-seconds over weight, an account may be left for a model that is loaded."""


_FIRST_TURN_S = 60.0
"""How much work of each other account may be before one that just came: about one job."""


@dataclass(frozen=True, kw_only=True)
class TierShare:
    """A tier's claim on GPU time: `weight` against the others, at least `floor` of all while it has work."""

    weight: float
    floor: float = 0.0


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """A job that may be dispatched. `gpu_s`: expected work left; `submitted_s`: order inside an account."""

    job_id: str
    account_id: str
    tier: str
    recipe: str
    memory_gb: float
    gpu_s: float
    submitted_s: float
    concurrency_limit: int


@dataclass(frozen=True, kw_only=True)
class WorkerView:
    """A live worker as the queue sees it. `busy_s`: until it is free, by its current work."""

    worker_id: str
    recipes: frozenset[str]
    memory_gb: float
    resident: frozenset[str] = frozenset()
    busy_s: float = 0.0

    def serves(self, job: QueuedJob) -> bool:
        """Whether this worker can run the job at all."""
        return job.recipe in self.recipes and job.memory_gb <= self.memory_gb


@dataclass(frozen=True, kw_only=True)
class Place:
    """A job's place among jobs that some live worker can serve; `position` counts from 1.

    `start_s` and `end_s` are seconds from now by the expected speeds. A job that no live worker can serve
    has `position` None and says why in `reason`.
    """

    job_id: str
    position: int | None
    of: int
    start_s: float | None = None
    end_s: float | None = None
    reason: str = ""


@dataclass
class _Account:
    account_id: str
    counter: float
    waiting: deque[QueuedJob] = field(default_factory=deque)
    running: int = 0


@dataclass
class _Tier:
    name: str
    weight: float
    counter: float
    accounts: dict[str, _Account] = field(default_factory=dict)

    @property
    def has_work(self) -> bool:
        return any(account.waiting for account in self.accounts.values())


class FairQueue:
    """Jobs that wait, and the counters that say whose turn it is."""

    def __init__(self, shares: Mapping[str, TierShare], *, affinity_gpu_s: float = AFFINITY_GPU_S) -> None:
        self._weights = effective_weights(shares)
        self._affinity_gpu_s = affinity_gpu_s
        self._tiers: dict[str, _Tier] = {}
        self._jobs: dict[str, QueuedJob] = {}
        self._running: dict[str, QueuedJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def add(self, job: QueuedJob) -> None:
        """Put a job in its account's line, by time of submission. Adding one that is there changes nothing."""
        if job.job_id in self._jobs:
            return
        self._running_ended(job.job_id)
        tier = self._tier(job.tier)
        account = self._account(tier, job.account_id)
        if not tier.has_work:
            tier.counter = max(tier.counter, self._least_tier_counter())
        if not account.waiting and account.running == 0:
            account.counter = max(account.counter, self._least_account_counter(tier))
        where = len(account.waiting)
        while where and _order(account.waiting[where - 1]) > _order(job):
            where -= 1
        account.waiting.insert(where, job)
        self._jobs[job.job_id] = job

    def remove(self, job_id: str) -> None:
        """The job left: cancelled, blocked, ended, or no longer on a worker. Unknown ids change nothing."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._tiers[job.tier].accounts[job.account_id].waiting.remove(job)
        self._running_ended(job_id)

    def start(self, job: QueuedJob) -> None:
        """The job was dispatched: it leaves the line, and its work counts for its account and tier."""
        self.remove(job.job_id)
        tier = self._tier(job.tier)
        account = self._account(tier, job.account_id)
        account.running += 1
        account.counter += job.gpu_s
        tier.counter += job.gpu_s / tier.weight
        self._running[job.job_id] = job

    def pick(self, worker: WorkerView) -> QueuedJob | None:
        """The job that this worker should run next, or None. Work-conserving: None only if nothing fits."""
        best: QueuedJob | None = None
        best_key: tuple[float, float, float, str] | None = None
        warm: QueuedJob | None = None
        warm_key: tuple[float, float, float, str] | None = None
        for tier in self._tiers.values():
            for account in tier.accounts.values():
                job = next((j for j in account.waiting if worker.serves(j)), None)
                if job is None or account.running >= job.concurrency_limit:
                    continue
                key = (tier.counter, account.counter, job.submitted_s, job.job_id)
                if best_key is None or key < best_key:
                    best, best_key = job, key
                if job.recipe in worker.resident and (warm_key is None or key < warm_key):
                    warm, warm_key = job, key
        if best is None or best_key is None:
            return None
        if warm is not None and warm_key is not None and best.recipe not in worker.resident:
            behind = warm_key[0] - best_key[0] if warm.tier != best.tier else warm_key[1] - best_key[1]
            if behind <= self._affinity_gpu_s:
                return warm
        return best

    def places(self, workers: Sequence[WorkerView], *, speed: float = 1.0) -> dict[str, Place]:
        """Every waiting job's place, as a drain would give it if nothing else arrived.

        `speed` scales expected work into seconds (1.5: half as long again).
        """
        drain = self._copy()
        free_at = {worker.worker_id: worker.busy_s for worker in workers}
        views = {worker.worker_id: worker for worker in workers}
        ends = [(max(free_at.values(), default=0.0), job_id) for job_id in self._running]
        places: dict[str, Place] = {}
        while drain._jobs and views:
            for worker_id in sorted(views, key=lambda w: (free_at[w], w)):
                job = drain.pick(views[worker_id])
                if job is not None:
                    break
            else:
                if not drain._running:
                    break
                # All that is left waits for its account's running jobs: let the one that ends first end.
                now, ended = min((end, j) for end, j in ends if j in drain._running)
                drain.remove(ended)
                free_at = {w: max(at, now) for w, at in free_at.items()}
                continue
            start = free_at[worker_id]
            end = start + job.gpu_s * speed
            free_at[worker_id] = end
            drain.start(job)
            ends.append((end, job.job_id))
            views[worker_id] = replace(views[worker_id], resident=frozenset({job.recipe}))
            places[job.job_id] = Place(
                job_id=job.job_id, position=len(places) + 1, of=0, start_s=start, end_s=end
            )
        total = len(places)
        served = {job_id: replace(place, of=total) for job_id, place in places.items()}
        for job_id, job in self._jobs.items():
            if job_id not in served:
                served[job_id] = Place(
                    job_id=job_id, position=None, of=total, reason=f"no live worker can run {job.recipe}"
                )
        return served

    def work_ahead_s(self, *, tier: str, account_id: str) -> float:
        """GPU-seconds that would run before a new job of this account: its own, and what is fairly before it."""
        mine = self._tiers.get(tier)
        accounts = mine.accounts if mine else {}
        own = accounts.get(account_id)
        own_work = sum(job.gpu_s for job in own.waiting) if own else 0.0
        weight = self._weights.get(tier, 1.0)
        ahead = own_work
        for other in accounts.values():
            if other.account_id != account_id:
                ahead += min(own_work or _FIRST_TURN_S, sum(job.gpu_s for job in other.waiting))
        in_tier = ahead
        for name, rival in self._tiers.items():
            if name != tier:
                backlog = sum(job.gpu_s for a in rival.accounts.values() for job in a.waiting)
                ahead += min(backlog, max(in_tier, _FIRST_TURN_S) * rival.weight / weight)
        return ahead

    def _copy(self) -> "FairQueue":
        other = FairQueue({}, affinity_gpu_s=self._affinity_gpu_s)
        other._weights = self._weights
        other._jobs = dict(self._jobs)
        other._running = dict(self._running)
        other._tiers = {
            name: _Tier(
                name=name,
                weight=tier.weight,
                counter=tier.counter,
                accounts={
                    account_id: _Account(account_id, a.counter, deque(a.waiting), a.running)
                    for account_id, a in tier.accounts.items()
                },
            )
            for name, tier in self._tiers.items()
        }
        return other

    def _running_ended(self, job_id: str) -> None:
        job = self._running.pop(job_id, None)
        if job is not None:
            self._tiers[job.tier].accounts[job.account_id].running -= 1

    def _tier(self, name: str) -> _Tier:
        if name not in self._tiers:
            self._tiers[name] = _Tier(name, self._weights.get(name, 1.0), self._least_tier_counter())
        return self._tiers[name]

    def _account(self, tier: _Tier, account_id: str) -> _Account:
        if account_id not in tier.accounts:
            tier.accounts[account_id] = _Account(account_id, self._least_account_counter(tier))
        return tier.accounts[account_id]

    def _least_tier_counter(self) -> float:
        return min((tier.counter for tier in self._tiers.values() if tier.has_work), default=self._ceiling())

    def _ceiling(self) -> float:
        return max((tier.counter for tier in self._tiers.values()), default=0.0)

    def _least_account_counter(self, tier: _Tier) -> float:
        active = [a.counter for a in tier.accounts.values() if a.waiting or a.running]
        return min(active) if active else max((a.counter for a in tier.accounts.values()), default=0.0)


def _order(job: QueuedJob) -> tuple[float, str]:
    return (job.submitted_s, job.job_id)


def effective_weights(shares: Mapping[str, TierShare]) -> dict[str, float]:
    """Weights raised so that each tier's part of their sum is at least its floor. Floors must sum below 1."""
    floors = sum(share.floor for share in shares.values())
    if floors >= 1:
        raise ValueError(f"the floors of all tiers sum to {floors}; they must stay below 1")
    total = sum(share.weight for share in shares.values())
    weights = {name: share.weight for name, share in shares.items()}
    raised = {n for n, s in shares.items() if total and s.floor > s.weight / total}
    free = sum(shares[n].weight for n in shares if n not in raised)
    left = 1 - sum(shares[n].floor for n in raised)
    for name in raised:
        weights[name] = shares[name].floor / left * free if free else shares[name].floor
    return weights


def quantile(values: Iterable[float], q: float, *, default: float) -> float:
    """The `q` quantile by nearest rank; `default` when there are no values."""
    ordered = sorted(values)
    if not ordered:
        return default
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
