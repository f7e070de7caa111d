"""A fleet and its queue on a virtual clock: what happened to every job of a trace under one policy."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from backend.domain.eta import Calibration, Eta, Situation
from backend.domain.forecast import estimate_end_s
from backend.domain.preemption import Run, choose_victim
from backend.domain.scheduling import FairQueue, QueuedJob, WorkerView
from backend.domain.shares import LEAST_WAITING, Backlog, TierShare
from backend.simulator.policies import Policy, PolicyName, make_policy
from backend.simulator.trace import TraceJob

REPAIR_S = 60.0
CHECKPOINT_EVERY_S = 20.0
STOP_S = 2.0
LOOK_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The workers: memory in GB of each. `switch_s`: loading a model; a worker holds one. `mtbf_s`: of one worker."""

    memory_gb: Sequence[float]
    switch_s: float
    mtbf_s: float = math.inf
    halve_at_s: float = math.inf


@dataclass(slots=True, kw_only=True)
class JobFate:
    """What became of one row of the trace. Times in seconds of the trace; None: it did not happen."""

    job: TraceJob
    refused: bool = False
    inside_share: bool = False
    started_s: float | None = None
    ended_s: float | None = None
    attempts: int = 0
    promised: Eta | None = None
    situation: Situation | None = None


@dataclass(kw_only=True)
class Outcome:
    """A whole run. GPU times in GPU-seconds; `backlogged_gpu_s`: by tier, started while every tier had at least as
    many jobs waiting as there are workers."""

    policy: PolicyName
    fates: list[JobFate]
    shares: Mapping[str, TierShare]
    workers: int
    useful_s: float = 0.0
    switch_s: float = 0.0
    lost_s: float = 0.0
    away_s: float = 0.0
    starts: int = 0
    switches: int = 0
    preemptions: int = 0
    makespan_s: float = 0.0
    calibration: Calibration = field(default_factory=Calibration)
    backlogged_gpu_s: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Worker:
    name: str
    memory_gb: float
    resident: str | None = None
    job: QueuedJob | None = None
    following: QueuedJob | None = None
    began_s: float = 0.0
    ready_s: float = 0.0
    ends_s: float = 0.0
    kept_s: float = 0.0
    run: int = 0
    alive: bool = True
    gone: bool = False

    def left_s(self, now_s: float) -> float:
        return max(0.0, self.ends_s - now_s) if self.job else 0.0


class Simulation:
    """One policy over one trace. `refuse`: bound each tier's backlog as the studio does (the fair policy only)."""

    def __init__(
        self,
        trace: Sequence[TraceJob],
        fleet: Fleet,
        *,
        policy: PolicyName,
        shares: Mapping[str, TierShare],
        refuse: bool,
        seed: int = 0,
        concurrency: Mapping[str, int] | None = None,
    ) -> None:
        self._queue: Policy = make_policy(policy, shares)
        self._fair = self._queue if isinstance(self._queue, FairQueue) else None
        self._fleet = fleet
        self._backlog = Backlog(shares) if self._fair is not None else None
        self._refuse = refuse
        self._random = random.Random(seed)
        self._workers = [_Worker(name=f"w{at:04}", memory_gb=gb) for at, gb in enumerate(fleet.memory_gb)]
        self._events: list[tuple[float, int, str, int, int]] = []
        self._count = 0
        self._looks_at = 0.0
        self._fates = [JobFate(job=job) for job in trace]
        self._left = {f"j{at:07}": job.gpu_s for at, job in enumerate(trace)}
        self._models = frozenset(job.model for job in trace)
        self._waits_of: dict[str, float] = {}
        self._tier_jobs: dict[str, int] = dict.fromkeys(shares, 0)
        self._stopped: dict[str, int] = {}
        self._concurrency = concurrency or {}
        self.outcome = Outcome(policy=policy, fates=self._fates, shares=shares, workers=len(self._workers))
        self.outcome.backlogged_gpu_s = dict.fromkeys(shares, 0.0)

    def run(self) -> Outcome:
        """To the end of the last job."""
        self._serve()
        for at, fate in enumerate(self._fates):
            self._at(fate.job.arrival_s, "arrives", at)
        for at in range(len(self._workers)):
            self._plan_crash(at, 0.0)
        if self._fleet.halve_at_s < math.inf:
            self._at(self._fleet.halve_at_s, "halve")
        open_jobs = len(self._fates)
        while self._events and open_jobs:
            now, _n, kind, at, run = heappop(self._events)
            if kind == "arrives":
                open_jobs -= self._arrive(at, now)
            elif kind == "ends":
                open_jobs -= self._end(self._workers[at], run, now)
            elif kind == "crashes":
                self._crash(self._workers[at], now)
                self._at(now + REPAIR_S, "returns", at)
            elif kind == "returns" and not self._workers[at].gone:
                self._workers[at].alive = True
                self.outcome.away_s += REPAIR_S
                self._plan_crash(at, now)
                self._serve()
            elif kind == "halve":
                for worker in self._workers[::2]:
                    self._crash(worker, now)
                    worker.gone = True
                self._serve()
            self._fill(now)
        self.outcome.makespan_s = max((f.ended_s for f in self._fates if f.ended_s is not None), default=0.0)
        return self.outcome

    def _at(self, when: float, kind: str, at: int = 0, run: int = 0) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, kind, at, run))

    def _serve(self) -> None:
        self._queue.serve([self._view(w, 0.0) for w in self._workers if w.alive])

    def _view(self, worker: _Worker, now: float) -> WorkerView:
        return WorkerView(
            worker_id=worker.name,
            recipes=self._models,
            memory_gb=worker.memory_gb,
            resident=frozenset({worker.resident}) if worker.resident else frozenset(),
            busy_s=worker.left_s(now),
            free=worker.following is None,
            kept_s=worker.kept_s,
        )

    def _queued(self, at: int) -> QueuedJob:
        job = self._fates[at].job
        name = f"j{at:07}"
        return QueuedJob(
            job_id=name,
            account_id=job.user,
            tier=job.tier,
            recipe=job.model,
            memory_gb=job.vram_gb,
            gpu_s=self._left[name],
            submitted_s=job.arrival_s,
            concurrency_limit=self._concurrency.get(job.tier, 1_000_000),
            load_s=self._fleet.switch_s,
        )

    def _arrive(self, at: int, now: float) -> int:
        fate = self._fates[at]
        tier, user = fate.job.tier, fate.job.user
        fate.inside_share = self._waits_of.get(user, 0.0) <= 0
        if self._backlog is not None and self._fair is not None:
            self._backlog.asked(tier, fate.job.gpu_s, now)
            if self._refuse and fate.inside_share and self._is_full(self._backlog, self._fair, fate.job, now):
                fate.refused = True
                return 1
        if not any(w.memory_gb >= fate.job.vram_gb and not w.gone for w in self._workers):
            fate.refused = True
            return 1
        job = self._queued(at)
        self._queue.add(job)
        self._tier_jobs[tier] += 1
        self._waits_of[user] = self._waits_of.get(user, 0.0) + job.gpu_s
        if self._fair is not None:
            self._promise(self._fair, fate, job, now)
        return 0

    def _is_full(self, backlog: Backlog, queue: FairQueue, job: TraceJob, now: float) -> bool:
        waiting = {name: queue.waiting_gpu_s(name) for name in self.outcome.shares}
        bound = backlog.bound_gpu_s(job.tier, waiting=waiting, capacity=self._capacity(), now_s=now)
        jobs, gpu_s = queue.bound_by_ceiling(job.tier)
        return jobs >= LEAST_WAITING and gpu_s + job.gpu_s > bound

    def _promise(self, queue: FairQueue, fate: JobFate, job: QueuedJob, now: float) -> None:
        place = queue.place(job.job_id, now)
        if place is None or place.position is None:
            return
        views = [self._view(w, now) for w in self._workers if w.alive]
        first_at_s = queue.goes_first_at_s(job.job_id)
        estimate_s = estimate_end_s(
            job,
            place,
            views,
            competing_gpu_s=self._competing(job, views),
            starts_within_s=math.inf if first_at_s is None else first_at_s - now,
        )
        pressure = 0.0
        if self._backlog is not None and place.others_before:
            pressure = self._backlog.pressure(self._capacity(), now)
        fate.situation = Situation(
            tier=job.tier, first=fate.inside_share, pressure=pressure, estimate_s=estimate_s
        )
        fate.promised = self.outcome.calibration.predict(fate.situation)

    def _competing(self, job: QueuedJob, views: Sequence[WorkerView]) -> float:
        assert self._fair is not None
        kinds = {(v.recipes, v.memory_gb) for v in views if v.serves(job)}
        return max((self._fair.waiting_gpu_s_of(r, gb) for r, gb in kinds), default=0.0)

    def _capacity(self) -> float:
        busy = self.outcome.useful_s + self.outcome.switch_s + self.outcome.lost_s
        efficiency = self.outcome.useful_s / busy if busy > 3600 else 0.9
        return sum(w.alive for w in self._workers) * max(0.5, efficiency)

    def _fill(self, now: float) -> None:
        while len(self._queue):
            views = [self._view(w, now) for w in self._workers if w.alive]
            found = self._queue.next_start(views, now) if views else None
            if found is None:
                if any(view.busy_s <= 0 for view in views) and now >= self._looks_at:
                    self._looks_at = now + LOOK_EVERY_S
                    self._at(self._looks_at, "look")
                break
            self._start(self._workers[int(found[0].worker_id[1:])], found[1], now)
        self._preempt(now)

    def _start(self, worker: _Worker, job: QueuedJob, now: float) -> None:
        at = int(job.job_id[1:])
        if min(self._tier_jobs.values()) >= len(self._workers):
            self.outcome.backlogged_gpu_s[job.tier] += job.gpu_s
        self._queue.start(job, now)
        self._tier_jobs[job.tier] -= 1
        self._waits_of[job.account_id] -= job.gpu_s
        if self._waits_of[job.account_id] < 1e-6:
            self._waits_of[job.account_id] = 0.0
        if worker.job is not None:
            worker.following = job
        else:
            self._begin(worker, job, now)
        self._fates[at].attempts += 1

    def _begin(self, worker: _Worker, job: QueuedJob, now: float) -> None:
        fate = self._fates[int(job.job_id[1:])]
        if fate.started_s is None:
            fate.started_s = now
        load_s = 0.0 if worker.resident == job.recipe else self._fleet.switch_s
        self.outcome.starts += 1
        self.outcome.switches += load_s > 0
        worker.kept_s = job.gpu_s if load_s else worker.kept_s + job.gpu_s
        worker.resident = job.recipe
        worker.job, worker.began_s, worker.ready_s = job, now, now + load_s
        worker.ends_s = worker.ready_s + job.gpu_s
        worker.run += 1
        self._at(worker.ends_s, "ends", int(worker.name[1:]), worker.run)

    def _end(self, worker: _Worker, run: int, now: float) -> int:
        if worker.run != run or worker.job is None:
            return 0
        job = worker.job
        fate = self._fates[int(job.job_id[1:])]
        fate.ended_s = now
        self.outcome.useful_s += now - worker.ready_s
        self.outcome.switch_s += worker.ready_s - worker.began_s
        if fate.promised is not None and fate.situation is not None:
            self.outcome.calibration.learn(fate.situation, fate.promised, now - fate.job.arrival_s)
        self._queue.remove(job.job_id)
        self._leave(worker, now)
        return 1

    def _leave(self, worker: _Worker, now: float) -> None:
        worker.job = None
        following, worker.following = worker.following, None
        if following is not None:
            self._begin(worker, following, now)

    def _plan_crash(self, at: int, now: float) -> None:
        if self._fleet.mtbf_s < math.inf:
            self._at(now + self._random.expovariate(1 / self._fleet.mtbf_s), "crashes", at)

    def _crash(self, worker: _Worker, now: float) -> None:
        if not worker.alive:
            return
        worker.alive = False
        following, worker.following = worker.following, None
        if worker.job is not None:
            ran = max(0.0, now - worker.ready_s)
            kept = ran // CHECKPOINT_EVERY_S * CHECKPOINT_EVERY_S
            self._stop(worker, now, kept=kept, lost=ran - kept)
        if following is not None:
            self._put_back(following)
        worker.resident = None
        self._serve()

    def _stop(self, worker: _Worker, now: float, *, kept: float, lost: float) -> None:
        job = worker.job
        assert job is not None
        self.outcome.useful_s += kept
        self.outcome.lost_s += lost
        self.outcome.switch_s += max(0.0, min(now, worker.ready_s) - worker.began_s)
        self._left[job.job_id] = max(0.1, job.gpu_s - kept)
        worker.job, worker.run = None, worker.run + 1
        self._put_back(job)

    def _put_back(self, job: QueuedJob) -> None:
        again = self._queued(int(job.job_id[1:]))
        self._queue.add(again)
        self._tier_jobs[again.tier] += 1
        self._waits_of[again.account_id] = self._waits_of.get(again.account_id, 0.0) + again.gpu_s

    def _preempt(self, now: float) -> None:
        if self._fair is None or not len(self._fair):
            return
        runs = [
            Run(
                worker=self._view(w, now),
                job=w.job,
                left_s=w.left_s(now),
                stop_s=STOP_S,
                stopped=self._stopped.get(w.job.job_id, 0),
            )
            for w in self._workers
            if w.alive and w.job is not None and now >= w.ready_s
        ]
        victim = choose_victim(self._fair, runs, now)
        if victim is None:
            return
        worker = self._workers[int(victim.worker.worker_id[1:])]
        self.outcome.preemptions += 1
        self._stopped[victim.job.job_id] = victim.stopped + 1
        following, worker.following = worker.following, None
        self._stop(
            worker, now, kept=max(0.0, now - worker.ready_s - STOP_S), lost=min(STOP_S, now - worker.ready_s)
        )
        if following is not None:
            self._put_back(following)
        found = self._fair.most_urgent(now, math.inf)
        if found is not None and self._view(worker, now).serves(found):
            self._start(worker, found, now)
