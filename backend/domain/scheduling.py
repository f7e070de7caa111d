"""The fair queue: who is next on which worker, and each job's place. Pure, deterministic, no clock of its own.

Two levels of start-time fair queueing, counted in GPU-seconds (Goyal, Vin, Cheng 1996): between tiers by weight,
inside a tier between accounts, equally. A job gets its start tag when it comes: the later of its tier's virtual
time and the end of its account's work before it. An account that was idle so returns at the present, and nobody
saves up. Three rules bend that order:

- a job that came when nothing else of its account waited, and which its account's limit did not keep back, starts
  within its tier's ceiling: from three tenths of it on it goes before every job that is not that far;
- a worker keeps to a model that it has loaded while it has work for it, within `KEEP_LOADS`, `PATIENCE_S` and
  `TIER_SLACK_S` (switching models is where fleets lose most);
- a large worker takes jobs that only its size can run before any other.

`docs/scheduling.md` gives the policy with figures. `backend/domain/shares.py` bounds what is accepted.
"""

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace, merge
from itertools import islice

from backend.domain.fair_line import Ahead, FairLine, Key
from backend.domain.shares import TierShare, effective_weights

PATIENCE_S = 3600.0
"""How long past its fair finish a job of an account that has more waiting may yield to models that are loaded."""

FIRST_FROM = 0.3
"""The part of its tier's ceiling after which a job that the ceiling binds goes first."""

LAST_CALL_S = 90.0
"""So long before its ceiling a job takes whatever worker is idle, whatever that has loaded."""

TIER_SLACK_S = 45.0
"""How far, in seconds of the whole fleet, a tier may run ahead of another's turn for the sake of loaded models."""

KEEP_LOADS = 96.0
"""A worker that has work for the model it loaded keeps to it for as much work as so many loads."""

COPY_LOADS = 10.0
"""A model is loaded once more when those who have it loaded are behind by more than so many loads."""

RUNG_LOADS = 3.0
"""After so many loads' time of waiting, one more worker with a better wanted model may be given up for a job."""

SWING = 0.125
"""The part of the workers that load other models at once: those whose own are wanted least."""

BATCH_LOOKS_AT = 64
"""Of so many jobs, the next in fair order that the same workers can run, some may join another's batch."""

DEMAND_HALF_LIFE_S = 500.0

PIECE = 512
"""So many jobs are put in line, or taken out, between two pauses: a few milliseconds of work."""

_RUN = 4096
_COST_SCALE = 1_000_000
_TAG_SCALE = 1_000
_NO_TAG = -1
_RESTING = 1024
_SINGLY = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuedJob:
    """A job that may be dispatched.

    `gpu_s`: expected work left. `submitted_s` and every `now_s` here are seconds on one clock. `load_s`: what loading
    its model takes; `step_gpu_s`: expected work of a step. Jobs with the same `batch_key` may run in one batch; empty:
    alone.
    """

    job_id: str
    account_id: str
    tier: str
    recipe: str
    memory_gb: float
    gpu_s: float
    submitted_s: float
    concurrency_limit: int
    load_s: float = 0.0
    step_gpu_s: float = 0.0
    batch_key: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerView:
    """A live worker. `busy_s`: seconds until its present work is done, 0 when it is idle; `free`: it may be given a
    job, to run now or next."""

    worker_id: str
    recipes: frozenset[str]
    memory_gb: float
    resident: frozenset[str] = frozenset()
    busy_s: float = 0.0
    free: bool = True
    kept_s: float = 0.0

    def serves(self, job: QueuedJob) -> bool:
        """Whether this worker can run the job at all."""
        return job.recipe in self.recipes and job.memory_gb <= self.memory_gb


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The rank at which a job starts in fair order if nothing else comes, among jobs that a live worker can serve.

    `position` counts from 1 and is None, with a reason, where no live worker can run the job. `own_before`: how
    many jobs of the same account are before it; `tier_before`: of the same tier, its own included; `gpu_s_before`:
    the work of all that is before it. `own`: what its account has on workers and before it in line.
    """

    position: int | None
    of: int
    own_before: int = 0
    tier_before: int = 0
    gpu_s_before: float = 0.0
    reason: str = ""
    own: "OwnLine | None" = None

    @property
    def others_before(self) -> int:
        """How many jobs of other accounts are before it."""
        return max(0, (self.position or 1) - 1 - self.own_before)


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnLine:
    """What keeps a job back by its account's own concurrency limit: the jobs on workers, and how many wait before it,
    with their work."""

    limit: int
    running: tuple[str, ...]
    before: int
    before_gpu_s: float

    @property
    def full(self) -> bool:
        """Whether it can't start before one of its account's own has ended."""
        return len(self.running) + self.before >= self.limit

    def starts_in_s(self, left_s: Iterable[float], seconds: Callable[[float], float]) -> float:
        """Seconds until the limit lets it start. `left_s`: of those on workers; `seconds`: what GPU-seconds take.

        Those that wait count as alike.
        """
        if not self.full:
            return 0.0
        ends = sorted(left_s)[-self.limit :]
        ends = [0.0] * (self.limit - len(ends)) + ends
        if self.before > _SINGLY:
            return (sum(ends) + seconds(self.before_gpu_s)) / self.limit
        for _job in range(self.before):
            heapreplace(ends, ends[0] + seconds(self.before_gpu_s / self.before))
        return ends[0]


@dataclass(slots=True)
class _Waiting:
    """A job in line. `arrived`: its tier's virtual time when it came; `paid`: its work counts already; `due_s`: when
    it passes its tier's ceiling, where that binds it; `late`: it goes first."""

    job: QueuedJob
    gpu_ms: int
    arrived: int
    paid: bool
    key: Key
    bin: "_Bin"
    due_s: float | None = None
    late: bool = False

    @property
    def finish(self) -> int:
        """When a fair and infinitely divisible machine would be done with it, in virtual time."""
        return self.key[0] + self.gpu_ms * _TAG_SCALE


@dataclass(slots=True)
class _Account:
    finish: int
    limit: int
    on_workers: set[str] = field(default_factory=set)
    waiting: list[_Waiting] = field(default_factory=list)
    parked: list[tuple[list[Key], Key]] = field(default_factory=list)

    @property
    def running(self) -> int:
        return len(self.on_workers)

    @property
    def active(self) -> bool:
        return bool(self.waiting or self.on_workers)

    def line_before(self, at: int) -> OwnLine:
        """What of it is before its waiting job `at`, or before the next that comes. Tags follow one another."""
        tags_ms = 0
        if at:
            end = self.finish if at == len(self.waiting) else self.waiting[at].key[0]
            tags_ms = max(0, end - self.waiting[0].key[0]) // _TAG_SCALE
        return OwnLine(
            limit=self.limit, running=tuple(self.on_workers), before=at, before_gpu_s=tags_ms / 1000
        )


@dataclass(slots=True)
class _Bin:
    """Jobs of one tier that the same workers can run: a heap of keys for those in time and one for those that are
    late. Some keys may be out of date."""

    recipe: str
    memory_gb: float
    heaps: tuple[list[Key], list[Key]] = field(default_factory=lambda: ([], []))
    gpu_ms: int = 0
    late_ms: int = 0


@dataclass(slots=True)
class _Tier:
    name: str
    cost: int
    ceiling_s: float
    counter: int = 0
    virtual: int = 0
    active: int = 0
    lines: tuple[FairLine, FairLine] = field(default_factory=lambda: (FairLine(), FairLine()))
    bins: dict[tuple[str, float], _Bin] = field(default_factory=dict)
    due: list[tuple[float, str]] = field(default_factory=list)
    urgent: list[tuple[float, str]] = field(default_factory=list)
    bound_ms: int = 0
    bound_jobs: int = 0
    accounts: dict[str, _Account] = field(default_factory=dict)
    past: deque[tuple[float, int]] = field(default_factory=deque)
    entered: list[Key] = field(default_factory=list)
    turn: int = -1

    @property
    def has_work(self) -> bool:
        return self.lines[0].jobs > 0 or self.lines[1].jobs > 0


@dataclass(slots=True)
class _Running:
    job: QueuedJob
    key: Key
    due_s: float | None


class FairQueue:
    """Jobs that wait, and the counters that say whose turn it is. All sums are integers, so that places are exact."""

    def __init__(self, shares: Mapping[str, TierShare]) -> None:
        self._shares = dict(shares)
        self._weights = effective_weights(shares)
        self._tiers: dict[str, _Tier] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._stranded: dict[tuple[str, float], dict[str, QueuedJob]] = {}
        self._running: dict[str, _Running] = {}
        self._latecomers: list[QueuedJob] = []
        self._late = 0
        self._served: frozenset[tuple[frozenset[str], float]] = frozenset()
        self._runnable: dict[tuple[str, float], bool] = {}
        self._fleet = 0
        self._virtual = 0
        self._copies: Counter[str] = Counter()
        self._demand: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        """All that wait, those that nobody can serve included."""
        return len(self._waiting) + sum(map(len, self._stranded.values()))

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._waiting or any(job_id in jobs for jobs in self._stranded.values())

    def serve(self, workers: Iterable[WorkerView]) -> None:
        """Say who lives. Jobs that nobody can run leave the line; when someone can, they come back at the present."""
        for _pause in self.serving(workers):
            pass

    def serving(self, workers: Iterable[WorkerView]) -> Iterator[None]:
        """`serve` in pieces of a few milliseconds: where a model's last worker goes, a million jobs may leave."""
        views = list(workers)
        self._fleet = len(views)
        served = frozenset((view.recipes, view.memory_gb) for view in views)
        if served == self._served:
            return
        self._served, self._runnable = served, {}
        bins = [kind for tier in self._tiers.values() for kind, b in tier.bins.items() if b.gpu_ms]
        if not all(map(self._can_run, bins)):
            # The youngest first: what is behind a job that leaves gets new tags.
            for count, job_id in enumerate(reversed(list(self._waiting)), 1):
                waiting = self._waiting.get(job_id)
                if waiting is not None and not self._can_run((waiting.job.recipe, waiting.job.memory_gb)):
                    self._take_out(job_id)
                    self._strand(waiting.job)
                if count % PIECE == 0:
                    yield
        runs = []
        for kind in filter(self._can_run, list(self._stranded)):
            jobs = list(self._stranded[kind].values())
            for begin in range(0, len(jobs), _RUN):
                runs.append(sorted(jobs[begin : begin + _RUN], key=_age))
                yield
        by_age = merge(*runs, key=_age)
        while piece := list(islice(by_age, PIECE)):
            for job in piece:
                del self._stranded[job.recipe, job.memory_gb][job.job_id]
                self._line_up(job)
            yield

    def enter(self, jobs: Iterable[QueuedJob]) -> None:
        """Let waiting jobs into a queue where none waits yet, oldest first, in as many calls as you like.

        `line_up` must follow. Until then they have tags and no place, and nothing else may be asked of the queue.
        """
        for job in jobs:
            kind = (job.recipe, job.memory_gb)
            if not self._can_run(kind):
                self._strand(job)
                continue
            tier = self._tier(job.tier)
            account = self._account(tier, job)
            late = account.waiting and _age(job) < _age(account.waiting[-1].job)
            if late or job.job_id in self._running:
                self._latecomers.append(job)
                continue
            self._waiting[job.job_id] = waiting = self._arrival(tier, account, job)
            account.waiting.append(waiting)
            tag = max(tier.virtual, account.finish)
            account.finish = tag + waiting.gpu_ms * _TAG_SCALE
            waiting.key = (tag, job.submitted_s, job.job_id)
            tier.entered.append(waiting.key)

    def line_up(self, now_s: float) -> Iterator[None]:
        """Give all that entered their places, in pieces of a few milliseconds; a million take seconds."""
        for tier in self._tiers.values():
            runs = []
            for begin in range(0, len(tier.entered), _RUN):
                runs.append(sorted(tier.entered[begin : begin + _RUN]))
                yield
            tier.entered = []
            in_order = merge(*runs)
            while keys := list(islice(in_order, PIECE)):
                waiting = [self._waiting[key[2]] for key in keys]
                tier.lines[False].extend(keys, [w.gpu_ms for w in waiting])
                for each in waiting:
                    # In order, a heap needs no more.
                    each.bin.heaps[False].append(each.key)
                yield
        for job in self._latecomers:
            self.add(job)
        self._latecomers = []
        while self._ripen(now_s, most=PIECE):
            yield

    def add(self, job: QueuedJob) -> None:
        """Put a job in line, or back in line at its old place where it was running. Adding twice changes nothing."""
        if job.job_id in self:
            return
        was = self._leave_worker(job.job_id)
        if was is not None:
            # What is left of it was counted when it started, and will be counted when it starts again.
            tier = self._tiers[job.tier]
            tier.counter -= _milliseconds(job.gpu_s) * tier.cost
        if self._can_run((job.recipe, job.memory_gb)):
            self._line_up(job, was)
        else:
            self._strand(job)

    def remove(self, job_id: str) -> None:
        """The job left: cancelled, blocked, ended, or no longer on a worker. Unknown ids change nothing."""
        if job_id in self._waiting:
            self._take_out(job_id)
        for jobs in self._stranded.values():
            jobs.pop(job_id, None)
        self._leave_worker(job_id)

    def start(self, job: QueuedJob, now_s: float, *, in_batch: bool = False) -> None:
        """The job went to a worker: it leaves the line, and the virtual times move on by its work.

        `in_batch`: it joined another's batch before its turn, so the present does not move up to its turn.
        """
        if job.job_id in self._running:
            return
        for jobs in self._stranded.values():
            jobs.pop(job.job_id, None)
        tier = self._tier(job.tier)
        account = self._account(tier, job)
        gpu_ms = _milliseconds(job.gpu_s)
        tier.active += not account.active
        account.on_workers.add(job.job_id)
        due_s = None
        counter = tier.counter
        if job.job_id in self._waiting:
            if self._waiting[job.job_id].late:
                # It went before its tier's turn: that brings no other's turn nearer.
                counter = min(t.counter for t in self._tiers.values() if t.has_work)
            waiting = self._take_out(job.job_id, served=True)
            key, due_s = waiting.key, waiting.due_s
        else:
            key = (max(tier.virtual, account.finish), job.submitted_s, job.job_id)
            account.finish = key[0] + gpu_ms * _TAG_SCALE
        self._running[job.job_id] = _Running(job, key, due_s)
        self._virtual = max(self._virtual, counter)
        tier.counter += gpu_ms * tier.cost
        least = self._virtual - int(self._slack())
        for other in self._tiers.values():
            # Who asks for less than its share saves nothing up.
            other.counter = max(other.counter, least)
        present = tier.virtual + gpu_ms * _TAG_SCALE // max(1, tier.active)
        tier.virtual = present if in_batch else max(present, key[0])
        tier.past.append((now_s, tier.virtual))
        self._wanted(job, now_s)

    def pick(self, worker: WorkerView, now_s: float) -> QueuedJob | None:
        """The job that this worker should run next. None only if no waiting job may run on it now."""
        return next(self._options(worker, now_s), None)

    def _options(self, worker: WorkerView, now_s: float) -> Iterator[QueuedJob]:
        """What this worker may run next, most wanted first."""
        self._ripen(now_s)
        urgent = self.most_urgent(now_s, LAST_CALL_S) if self._late else None
        if urgent is not None and worker.serves(urgent) and not self._at_limit(urgent):
            yield urgent
        for late in (True, False) if self._late else (False,):
            heads, warm, worthwhile = self._candidates(worker, late=late)
            if not heads:
                continue
            best = heads[0]
            if best.job.recipe in worker.resident:
                yield best.job
                continue
            if warm is None or worker.kept_s >= KEEP_LOADS * best.job.load_s:
                yield from (head.job for head in heads if self._must_not_wait(head, best, now_s))
            if warm is not None and self._may_lead(warm, best):
                yield warm.job
            elif worthwhile is not None and self._may_lead(worthwhile, best):
                yield worthwhile.job
            yield best.job

    def next_start(self, workers: Sequence[WorkerView], now_s: float) -> tuple[WorkerView, QueuedJob] | None:
        """Which of all live workers gets which job now; None when there is nothing to give.

        A busy worker whose next slot is free takes only a job whose model it has loaded, and only where that starts
        no later than loading the model elsewhere would. A model is loaded by the worker whose own is wanted least; the
        longer a job waits, the better wanted a model may be given up for it.
        """
        self._copies = Counter(recipe for view in workers for recipe in view.resident)
        kinds: dict[tuple[frozenset[str], float, frozenset[str]], WorkerView] = {}
        for view in sorted(workers, key=lambda w: (w.busy_s, w.worker_id)):
            if view.free and view.busy_s <= 0:
                kinds.setdefault((view.recipes, view.memory_gb, view.resident), view)
        for view in kinds.values():
            for job in self._options(view, now_s):
                if job.recipe in view.resident:
                    return view, job
                worker = self._worker_for(job, workers, now_s)
                if worker is not None:
                    return worker, job
        return None

    def _worker_for(self, job: QueuedJob, workers: Sequence[WorkerView], now_s: float) -> WorkerView | None:
        able = [view for view in workers if view.serves(job)]
        due_s = self._waiting[job.job_id].due_s
        if due_s is not None and due_s - now_s <= LAST_CALL_S:
            idle = [view for view in able if view.free and view.busy_s <= 0]
            return min(
                idle, key=lambda v: (job.recipe not in v.resident, v.memory_gb, v.worker_id), default=None
            )
        warm = [v for v in able if job.recipe in v.resident]
        if warm:
            first = min(warm, key=lambda v: (not v.free, v.busy_s, v.memory_gb, v.worker_id))
            if first.free and first.busy_s <= job.load_s:
                return first
            late = self._waiting[job.job_id].late
            queued_s = self._work_of(job.recipe, late=late) / 1000
            if (sum(v.busy_s for v in warm) + queued_s) / len(warm) <= (
                COPY_LOADS / 2 if late else COPY_LOADS
            ) * job.load_s:
                return None
        ladder = sorted((self._worth(v, workers, now_s), v.memory_gb, v.busy_s, v.worker_id, v) for v in able)
        rungs = math.ceil(len(able) * SWING) + int(
            (now_s - job.submitted_s) / max(1.0, RUNG_LOADS * job.load_s)
        )
        last = ladder[min(rungs, len(ladder)) - 1][0]
        for worth, _gb, busy_s, _name, view in ladder:
            if worth <= last and view.free and busy_s <= 0:
                return view
        return None

    def batch_with(
        self, job: QueuedJob, worker: WorkerView, workers: Sequence[WorkerView], *, most: int
    ) -> list[QueuedJob]:
        """Up to `most` further waiting jobs to run in one pass with `job` on this worker, in fair order.

        They are of its tier, and only such as would wait anyway: none while another worker that could run them is
        idle. Each is charged for itself, so a batch gives nobody more than a share, only sooner.
        """
        first = self._waiting.get(job.job_id)
        others = (view for view in workers if view.worker_id != worker.worker_id)
        if (
            most <= 0
            or not job.batch_key
            or first is None
            or any(view.free and view.busy_s <= 0 and view.serves(job) for view in others)
        ):
            return []
        taken = Counter({job.account_id: 1})
        chosen: list[QueuedJob] = []
        for other in islice(self._in_order(first.bin.heaps[first.late]), BATCH_LOOKS_AT):
            account = self._tiers[job.tier].accounts.get(other.job.account_id)
            alike = (
                other.bin is first.bin and other.late is first.late and other.job.batch_key == job.batch_key
            )
            if not alike or account is None or other is first or other.job in chosen:
                continue
            if account.running + taken[other.job.account_id] >= account.limit:
                continue
            taken[other.job.account_id] += 1
            chosen.append(other.job)
            if len(chosen) == most:
                break
        return chosen

    def _in_order(self, heap: list[Key]) -> Iterator[_Waiting]:
        """The jobs of a heap, the most entitled first, without taking one out."""
        ahead = [(heap[0], 0)] if heap else []
        while ahead:
            key, at = heappop(ahead)
            for child in (2 * at + 1, 2 * at + 2):
                if child < len(heap):
                    heappush(ahead, (heap[child], child))
            waiting = self._waiting.get(key[2])
            if waiting is not None and waiting.key == key:
                yield waiting

    def place(self, job_id: str, now_s: float) -> Place | None:
        """The place of a waiting job; None when it does not wait here."""
        self._ripen(now_s)
        waiting = self._waiting.get(job_id)
        if waiting is None:
            for (recipe, memory_gb), jobs in self._stranded.items():
                if job_id in jobs:
                    why = self._why_stranded(recipe, memory_gb)
                    return Place(position=None, of=len(self._waiting), reason=why)
            return None
        tier = self._tiers[waiting.job.tier]
        account = tier.accounts[waiting.job.account_id]
        at = bisect_left(account.waiting, _age(waiting.job), key=lambda w: _age(w.job))
        own = account.line_before(at)
        return self._place_at(
            tier, waiting.key, tier.counter, late=waiting.late, own=own, of=len(self._waiting)
        )

    def place_if_added(self, *, tier: str, account_id: str, now_s: float) -> Place:
        """The place that a new job of this account would get, were it sent now."""
        self._ripen(now_s)
        found = self._tier(tier)
        account = found.accounts.get(account_id)
        tag = max(found.virtual, account.finish) if account else found.virtual
        counter = found.counter if found.has_work else max(found.counter, self._virtual)
        own = account.line_before(len(account.waiting)) if account else None
        return self._place_at(
            found, (tag, now_s, ""), counter, late=False, own=own, of=len(self._waiting) + 1
        )

    def _place_at(
        self, tier: _Tier, key: Key, counter: int, *, late: bool, own: OwnLine | None, of: int
    ) -> Place:
        ahead = tier.lines[late].before(key)
        jobs, gpu_ms = ahead.jobs, ahead.gpu_ms
        if not late:
            counter += tier.lines[True].gpu_ms * tier.cost
        turn = counter + ahead.gpu_ms * tier.cost
        for other in self._tiers.values():
            if not late:
                jobs, gpu_ms = jobs + other.lines[True].jobs, gpu_ms + other.lines[True].gpu_ms
            if other is not tier:
                rival = self._before_turn(other, turn, late=late, first=other.name < tier.name)
                jobs, gpu_ms = jobs + rival.jobs, gpu_ms + rival.gpu_ms
        of_tier = ahead.jobs + (0 if late else tier.lines[True].jobs)
        return Place(
            position=jobs + 1,
            of=of,
            own_before=own.before if own else 0,
            tier_before=of_tier,
            gpu_s_before=gpu_ms / 1000,
            own=own,
        )

    def waiting_job(self, job_id: str) -> QueuedJob | None:
        """A job that waits and that someone can run."""
        waiting = self._waiting.get(job_id)
        return None if waiting is None else waiting.job

    def running_job(self, job_id: str) -> QueuedJob | None:
        """A job that is on a worker."""
        run = self._running.get(job_id)
        return None if run is None else run.job

    def waiting_gpu_s(self, tier: str) -> float:
        """The work of a tier that waits and that someone can do, in GPU-seconds."""
        found = self._tiers.get(tier)
        return 0.0 if found is None else sum(line.gpu_ms for line in found.lines) / 1000

    def bound_by_ceiling(self, tier: str) -> tuple[int, float]:
        """The waiting jobs of a tier that its ceiling binds, and their work in GPU-seconds."""
        found = self._tiers.get(tier)
        return (0, 0.0) if found is None else (found.bound_jobs, found.bound_ms / 1000)

    def goes_first_at_s(self, job_id: str) -> float | None:
        """From when on a waiting job goes before others; None where its tier's ceiling doesn't bind it."""
        waiting = self._waiting.get(job_id)
        if waiting is None or waiting.due_s is None:
            return None
        return waiting.due_s - (1 - FIRST_FROM) * self._tiers[waiting.job.tier].ceiling_s

    def waiting_gpu_s_of(self, recipes: frozenset[str], memory_gb: float) -> float:
        """The waiting work that a worker with these recipes and this memory could do, in GPU-seconds."""
        bins = (b for tier in self._tiers.values() for b in tier.bins.values())
        return sum(b.gpu_ms for b in bins if b.recipe in recipes and b.memory_gb <= memory_gb) / 1000

    def lead_gpu_s(self, tier: str) -> float:
        """How far a tier has run ahead of the present by its share, in its GPU-seconds; 0 when it is behind."""
        found = self._tiers.get(tier)
        return 0.0 if found is None else max(0, found.counter - self._virtual) / found.cost / 1000

    def most_urgent(self, now_s: float, within_s: float) -> QueuedJob | None:
        """The waiting job that passes its tier's ceiling first, where that is within `within_s` seconds.

        None that its account's own limit keeps back: no worker could help it.
        """
        self._ripen(now_s)
        urgent: list[tuple[float, str]] = []
        for tier in self._tiers.values():
            kept_back = []
            while tier.urgent:
                waiting = self._waiting.get(tier.urgent[0][1])
                if waiting is not None and not self._at_limit(waiting.job):
                    urgent.append(tier.urgent[0])
                    break
                entry = heappop(tier.urgent)
                if waiting is not None:
                    kept_back.append(entry)
            for entry in kept_back:
                heappush(tier.urgent, entry)
        soonest = min(urgent, default=None)
        if soonest is None or soonest[0] - now_s > within_s:
            return None
        return self._waiting[soonest[1]].job

    def _candidates(
        self, worker: WorkerView, *, late: bool
    ) -> tuple[list[_Waiting], _Waiting | None, _Waiting | None]:
        """Each tier's most entitled job for this worker, the tier furthest behind first; the most entitled of those
        whose model it has loaded; and of the model that has most work waiting."""
        heads: list[tuple[int, str, Key]] = []
        warm: tuple[int, str, Key] | None = None
        only_above = self._memory_below(worker)
        bins = [
            (tier, bin_, key)
            for tier in self._tiers.values()
            if tier.lines[late].jobs
            for bin_ in tier.bins.values()
            if bin_.heaps[late] and bin_.memory_gb <= worker.memory_gb and bin_.recipe in worker.recipes
            if (key := self._head(tier, bin_, late=late)) is not None
        ]
        if any(bin_.memory_gb > only_above for _tier, bin_, _key in bins):
            bins = [found for found in bins if found[1].memory_gb > only_above]
        best: dict[str, tuple[int, str, Key]] = {}
        first_of: dict[str, tuple[int, str, Key]] = {}
        work: Counter[str] = Counter()
        for tier, bin_, key in bins:
            entry = (tier.counter, tier.name, key)
            if tier.name not in best or entry < best[tier.name]:
                best[tier.name] = entry
            if bin_.recipe in worker.resident and (warm is None or entry < warm):
                warm = entry
            if bin_.recipe not in first_of or entry < first_of[bin_.recipe]:
                first_of[bin_.recipe] = entry
            work[bin_.recipe] += bin_.gpu_ms
        wanted = max(work, key=lambda r: (work[r] / (1 + self._copies.get(r, 0)), r), default=None)
        most = None if wanted is None else first_of[wanted]
        heads = sorted(best.values())
        return [self._waiting[h[2][2]] for h in heads], self._of(warm), self._of(most)

    def _of(self, entry: tuple[int, str, Key] | None) -> _Waiting | None:
        return self._waiting[entry[2][2]] if entry else None

    def _may_lead(self, chosen: _Waiting, best: _Waiting) -> bool:
        """Whether the chosen job's tier may run ahead of the tier whose turn it is."""
        if chosen.job.tier == best.job.tier:
            return True
        lead = self._tiers[chosen.job.tier].counter - self._tiers[best.job.tier].counter
        return lead <= self._slack()

    def _slack(self) -> float:
        total = sum(_COST_SCALE / tier.cost for tier in self._tiers.values() if tier.has_work)
        return TIER_SLACK_S * max(1, self._fleet) * 1000 * _COST_SCALE / max(total, 1e-9)

    def _must_not_wait(self, head: _Waiting, best: _Waiting, now_s: float) -> bool:
        """Whether this job has waited long enough for the sake of loaded models."""
        if now_s - head.job.submitted_s < PATIENCE_S or not self._may_lead(head, best):
            return False
        tier = self._tiers[head.job.tier]
        while tier.past and tier.past[0][0] <= now_s - PATIENCE_S:
            tier.turn = tier.past.popleft()[1]
        return head.finish <= tier.turn

    def _at_limit(self, job: QueuedJob) -> bool:
        account = self._tiers[job.tier].accounts[job.account_id]
        return account.running >= account.limit

    def _work_of(self, recipe: str, *, late: bool) -> int:
        """The waiting work of a model, in GPU-milliseconds; `late`: only of what goes first."""
        bins = (b for tier in self._tiers.values() for b in tier.bins.values())
        return sum(b.late_ms if late else b.gpu_ms for b in bins if b.recipe == recipe)

    def _worth(self, view: WorkerView, workers: Sequence[WorkerView], now_s: float) -> float:
        """How much the models that a worker has loaded are wanted, shared with the others that have them loaded."""
        worth = 0.0
        for recipe in view.resident:
            amount, at_s = self._demand.get(recipe, (0.0, now_s))
            copies = sum(1 for other in workers if recipe in other.resident)
            worth += amount * _faded(now_s - at_s) / max(1, copies)
        return worth

    def _wanted(self, job: QueuedJob, now_s: float) -> None:
        amount, at_s = self._demand.get(job.recipe, (0.0, now_s))
        self._demand[job.recipe] = (amount * _faded(now_s - at_s) + 1, now_s)

    def _head(self, tier: _Tier, bin_: _Bin, *, late: bool) -> Key | None:
        """The first key of a bin that is still true and whose account may start another job."""
        heap = bin_.heaps[late]
        while heap:
            key = heap[0]
            waiting = self._waiting.get(key[2])
            if waiting is None or waiting.key != key or waiting.late is not late or waiting.bin is not bin_:
                heappop(heap)
                continue
            account = tier.accounts[waiting.job.account_id]
            if account.running >= account.limit:
                account.parked.append((heap, heappop(heap)))
                continue
            return key
        return None

    def _line_up(self, job: QueuedJob, was: "_Running | None" = None) -> None:
        tier = self._tier(job.tier)
        account = self._account(tier, job)
        self._waiting[job.job_id] = waiting = self._arrival(tier, account, job, was)
        at = bisect_left(account.waiting, _age(job), key=lambda w: _age(w.job))
        finish = account.finish if at == len(account.waiting) else account.waiting[at].key[0]
        account.waiting.insert(at, waiting)
        self._chain(tier, account, at, finish)

    def _arrival(
        self, tier: _Tier, account: _Account, job: QueuedJob, was: "_Running | None" = None
    ) -> _Waiting:
        """What all count of a job that comes, before it has a tag and is among its account's."""
        if not tier.has_work:
            tier.counter = max(tier.counter, self._virtual)
        tier.active += not account.active
        bin_ = tier.bins.get((job.recipe, job.memory_gb))
        if bin_ is None:
            bin_ = tier.bins[job.recipe, job.memory_gb] = _Bin(recipe=job.recipe, memory_gb=job.memory_gb)
        waiting = _Waiting(
            job=job,
            gpu_ms=_milliseconds(job.gpu_s),
            arrived=tier.virtual if was is None else was.key[0],
            paid=was is not None,
            key=(_NO_TAG, job.submitted_s, job.job_id),
            bin=bin_,
        )
        if was is not None:
            waiting.due_s = was.due_s
        elif not account.waiting and account.running < account.limit and tier.ceiling_s < math.inf:
            waiting.due_s = job.submitted_s + tier.ceiling_s
        if waiting.due_s is not None:
            tier.bound_ms += waiting.gpu_ms
            tier.bound_jobs += 1
            heappush(tier.due, (waiting.due_s - (1 - FIRST_FROM) * tier.ceiling_s, job.job_id))
        bin_.gpu_ms += waiting.gpu_ms
        return waiting

    def _chain(self, tier: _Tier, account: _Account, at: int, finish: int) -> None:
        """Tag the account's waiting jobs from index `at` on, where its work before them ends at `finish`."""
        for waiting in account.waiting[at:]:
            tag = waiting.arrived
            if not waiting.paid:
                tag = max(tag, finish)
                finish = tag + waiting.gpu_ms * _TAG_SCALE
            if tag == waiting.key[0]:
                continue
            line = tier.lines[waiting.late]
            if waiting.key[0] != _NO_TAG:
                line.remove(waiting.key)
            waiting.key = (tag, waiting.job.submitted_s, waiting.job.job_id)
            line.add(waiting.key, waiting.gpu_ms)
            heappush(waiting.bin.heaps[waiting.late], waiting.key)
        account.finish = finish

    def _take_out(self, job_id: str, *, served: bool = False) -> _Waiting:
        waiting = self._waiting.pop(job_id)
        tier = self._tiers[waiting.job.tier]
        account = tier.accounts[waiting.job.account_id]
        waiting.bin.gpu_ms -= waiting.gpu_ms
        waiting.bin.late_ms -= waiting.gpu_ms * waiting.late
        tier.lines[waiting.late].remove(waiting.key)
        self._late -= waiting.late
        if waiting.due_s is not None:
            tier.bound_ms -= waiting.gpu_ms
            tier.bound_jobs -= 1
        at = bisect_left(account.waiting, _age(waiting.job), key=lambda w: _age(w.job))
        del account.waiting[at]
        if not served and not waiting.paid:
            # Time that was not used: what the account has behind it moves up.
            self._chain(tier, account, at, waiting.key[0])
        self._rest(tier, waiting.job.account_id, account)
        return waiting

    def _leave_worker(self, job_id: str) -> _Running | None:
        run = self._running.pop(job_id, None)
        if run is None:
            return None
        tier = self._tiers[run.job.tier]
        account = tier.accounts[run.job.account_id]
        account.on_workers.discard(job_id)
        for heap, key in account.parked:
            heappush(heap, key)
        account.parked.clear()
        self._rest(tier, run.job.account_id, account)
        return run

    def _rest(self, tier: _Tier, account_id: str, account: _Account) -> None:
        """Forget an account that has nothing here any more, once what it used lies in the past."""
        if account.active:
            return
        tier.active -= 1
        if account.finish <= tier.virtual:
            del tier.accounts[account_id]
        elif len(tier.accounts) > 2 * tier.active + _RESTING:
            for name in [n for n, a in tier.accounts.items() if not a.active and a.finish <= tier.virtual]:
                del tier.accounts[name]

    def _ripen(self, now_s: float, most: float = math.inf) -> bool:
        """Mark what goes first by now, at most so many jobs; whether there may be more of them."""
        found = 0
        for tier in self._tiers.values():
            while found < most and (head := self._first_due(tier)) is not None and head[0] <= now_s:
                found += 1
                heappop(tier.due)
                waiting = self._waiting[head[1]]
                tier.lines[False].remove(waiting.key)
                waiting.late = True
                if waiting.due_s is not None:
                    heappush(tier.urgent, (waiting.due_s, waiting.job.job_id))
                waiting.bin.late_ms += waiting.gpu_ms
                self._late += 1
                tier.lines[True].add(waiting.key, waiting.gpu_ms)
                heappush(waiting.bin.heaps[True], waiting.key)
        return found >= most

    def _first_due(self, tier: _Tier) -> tuple[float, str] | None:
        while tier.due:
            waiting = self._waiting.get(tier.due[0][1])
            if waiting is not None and waiting.due_s is not None and not waiting.late:
                return tier.due[0]
            heappop(tier.due)
        return None

    @staticmethod
    def _before_turn(tier: _Tier, turn: int, *, late: bool, first: bool) -> Ahead:
        """What of this tier starts before the counter `turn`; `first`: it goes first where the two are equal."""
        room = turn - tier.counter - (0 if late else tier.lines[True].gpu_ms * tier.cost)
        if room < 0:
            return Ahead(0, 0)
        return tier.lines[late].started_by(room // tier.cost + 1 if first else -(-room // tier.cost))

    def _tier(self, name: str) -> _Tier:
        tier = self._tiers.get(name)
        if tier is None:
            share = self._shares.get(name)
            tier = self._tiers[name] = _Tier(
                name=name,
                cost=max(1, round(_COST_SCALE / self._weights.get(name, 1.0))),
                ceiling_s=share.ceiling_s if share else math.inf,
                counter=self._virtual,
            )
        return tier

    def _account(self, tier: _Tier, job: QueuedJob) -> _Account:
        account = tier.accounts.get(job.account_id)
        if account is None:
            account = tier.accounts[job.account_id] = _Account(
                finish=tier.virtual, limit=job.concurrency_limit
            )
        account.limit = job.concurrency_limit
        return account

    def _strand(self, job: QueuedJob) -> None:
        self._stranded.setdefault((job.recipe, job.memory_gb), {})[job.job_id] = job

    def _can_run(self, kind: tuple[str, float]) -> bool:
        known = self._runnable.get(kind)
        if known is None:
            recipe, memory_gb = kind
            known = any(recipe in recipes and memory_gb <= has_gb for recipes, has_gb in self._served)
            self._runnable[kind] = known
        return known

    def _memory_below(self, worker: WorkerView) -> float:
        """The memory of the largest live worker that is smaller than this one; 0 without one."""
        return max((gb for _recipes, gb in self._served if gb < worker.memory_gb), default=0.0)

    def _why_stranded(self, recipe: str, memory_gb: float) -> str:
        if any(recipe in recipes for recipes, _gb in self._served):
            return f"no live worker has the {memory_gb:g} GB of memory that {recipe} needs"
        return f"no live worker can run {recipe}"


def _age(job: QueuedJob) -> tuple[float, str]:
    return (job.submitted_s, job.job_id)


def _milliseconds(gpu_s: float) -> int:
    """At least 1, so that every job moves the counters."""
    return max(1, round(gpu_s * 1000))


def _faded(seconds: float) -> float:
    return float(0.5 ** (seconds / DEMAND_HALF_LIFE_S))
