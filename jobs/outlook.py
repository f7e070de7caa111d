"""What the leader tells others of the queue: places and expected ends, the wait of a clip not yet sent, full tiers."""

import math
from dataclasses import dataclass, field

from backend import metrics
from backend.domain.eta import Calibration, Eta, Situation
from backend.domain.forecast import estimate_end_s
from backend.domain.scheduling import FairQueue, Place, QueuedJob, WorkerView
from backend.domain.shares import LEAST_WAITING, Backlog, TierShare
from backend.services.scheduling_state import Speeds
from jobs.fleet import Fleet

MOST_PROMISES = 100_000


@dataclass(frozen=True, slots=True)
class _Promise:
    situation: Situation
    eta: Eta
    at_s: float


@dataclass
class Outlook:
    """Reads the queue and the fleet, and tells the fleet how fast it is. Learns from how its promises turn out."""

    queue: FairQueue
    fleet: Fleet
    shares: dict[str, TierShare]
    speeds: Speeds
    backlog: Backlog = field(init=False)
    calibration: Calibration = field(default_factory=Calibration)
    _promises: dict[str, _Promise] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.backlog = Backlog(self.shares)
        self.goes_at(self.speeds)

    def goes_at(self, speeds: Speeds) -> None:
        """So fast are clips made now."""
        self.speeds = speeds
        self.fleet.paces = speeds.paces

    def place(self, job_id: str, now_s: float, mono_s: float) -> dict[str, object] | None:
        """Place and expected end of a job that waits or runs; None when this leader knows of no such job."""
        place = self.queue.place(job_id, now_s)
        if place is None:
            left = self.fleet.left_s_of(job_id)
            if left is None:
                return None
            paced = self.fleet.paced(job_id)
            return self._answer(0, len(self.queue), self._released(*left), "", paced=paced)
        job = self.queue.waiting_job(job_id)
        if place.position is None or job is None:
            return self._answer(None, place.of, None, place.reason)
        eta = self._eta(job, place, now_s, mono_s)
        released = self._released(eta.p50_s, eta.p90_s)
        return self._answer(place.position, place.of, released, self._why(job, place, mono_s))

    def promise(self, job_id: str, now_s: float, mono_s: float) -> None:
        """A job came: note when it is expected, asked or not, so that its end teaches. Of no job that does not wait."""
        place, job = self.queue.place(job_id, now_s), self.queue.waiting_job(job_id)
        if place is not None and place.position is not None and job is not None:
            self._eta(job, place, now_s, mono_s)

    def wait_for(self, job: QueuedJob, now_s: float, mono_s: float) -> tuple[float, float] | None:
        """Seconds (p50, p90) until this clip would be there, were it sent now. None: no worker for it."""
        views = self.fleet.views(mono_s)
        if not any(view.serves(job) for view in views):
            return None
        place = self.queue.place_if_added(tier=job.tier, account_id=job.account_id, now_s=now_s)
        first = place.own_before == 0 and not (place.own is not None and place.own.full)
        starts_within_s = (
            self.shares[job.tier].ceiling_s if first and job.tier in self.shares else float("inf")
        )
        situation = self._situation(job, place, views, starts_within_s, first, now_s)
        eta = self.calibration.predict(situation)
        return self._released(eta.p50_s, eta.p90_s)

    def asked(self, job: QueuedJob, now_s: float) -> None:
        """A job came: its tier wants this much."""
        if job.tier in self.shares:
            self.backlog.asked(job.tier, job.gpu_s, now_s)

    def rendered(self, job_id: str, now_s: float) -> None:
        """A worker delivered the clip: see whether the promise held."""
        promise = self._promises.pop(job_id, None)
        if promise is None:
            return
        took_s = now_s - promise.at_s
        metrics.eta_promises.labels("held" if took_s <= promise.eta.p90_s else "missed").inc()
        self.calibration.learn(promise.situation, promise.eta, took_s)

    def left(self, job_id: str) -> None:
        """The job ended otherwise: nothing to learn from it."""
        self._promises.pop(job_id, None)

    def full_tiers(self, now_s: float, mono_s: float) -> dict[str, dict[str, float]]:
        """Tiers that take no further account's first job now, each with when to try again, in seconds."""
        capacity = float(len(self.fleet.live(mono_s))) / max(self.speeds.paces.ratio, 0.1)
        waiting = {name: self.queue.waiting_gpu_s(name) for name in self.shares}
        full = {}
        for name in self.shares:
            jobs, gpu_s = self.queue.bound_by_ceiling(name)
            bound = self.backlog.bound_gpu_s(name, waiting=waiting, capacity=capacity, now_s=now_s)
            if jobs >= LEAST_WAITING and gpu_s > bound:
                share = self.backlog.share(name, waiting=waiting, capacity=capacity, now_s=now_s)
                full[name] = {"retry_after_s": max(1.0, (gpu_s - bound) / max(share * capacity, 1e-3))}
        return full

    def _eta(self, job: QueuedJob, place: Place, now_s: float, mono_s: float) -> Eta:
        views = self.fleet.views(mono_s)
        first_at_s = self.queue.goes_first_at_s(job.job_id)
        within_s = float("inf") if first_at_s is None else max(0.0, first_at_s - now_s)
        situation = self._situation(job, place, views, within_s, first_at_s is not None, now_s)
        eta = self.calibration.predict(situation)
        if job.job_id not in self._promises and len(self._promises) < MOST_PROMISES:
            self._promises[job.job_id] = _Promise(situation, eta, now_s)
        return eta

    def _situation(
        self,
        job: QueuedJob,
        place: Place,
        views: list[WorkerView],
        starts_within_s: float,
        first: bool,
        now_s: float,
    ) -> Situation:
        paces = self.speeds.paces
        pace = paces.of(job.recipe, job.step_gpu_s)
        kinds = {(view.recipes, view.memory_gb) for view in views if view.serves(job)}
        competing = max((self.queue.waiting_gpu_s_of(r, gb) for r, gb in kinds), default=0.0)
        estimate_s = estimate_end_s(
            job,
            place,
            views,
            competing_gpu_s=competing,
            starts_within_s=starts_within_s,
            not_before_s=self._own_limit_s(place),
            pace=pace,
            mix=paces.mix,
        )
        capacity = max(1.0, float(len(views))) / max(paces.ratio, 0.1)
        pressure = self.backlog.pressure(capacity, now_s) if place.others_before else 0.0
        return Situation(tier=job.tier, first=first, pressure=pressure, estimate_s=estimate_s, late=pace.late)

    def _own_limit_s(self, place: Place) -> float:
        """Seconds until the account's own limit lets the job start."""
        if place.own is None:
            return 0.0
        left = (self.fleet.left_s_of(job_id) for job_id in place.own.running)
        return place.own.starts_in_s(
            (found[0] for found in left if found is not None), self.speeds.paces.mix.seconds
        )

    def _why(self, job: QueuedJob, place: Place, mono_s: float) -> str:
        """Who is before it, and what a worker does about its model; empty when nothing is to be said."""
        other_tiers = (place.position or 1) - 1 - place.tier_before
        counts = (
            (place.own_before, "of yours"),
            (place.tier_before - place.own_before, "of your tier"),
            (other_tiers, "of other tiers"),
        )
        before = [f"{count} {whose}" for count, whose in counts if count > 0]
        parts = [f"after {_listed(before)}"] if before else []
        if place.own is not None and place.own.full:
            clips = "clip" if place.own.limit == 1 else "clips"
            parts.append(f"your tier makes {place.own.limit} {clips} of yours at a time")
        if self.fleet.loading(job.recipe, mono_s):
            parts.append(f"a worker is loading {job.recipe}")
        return "; ".join(parts)

    def _released(self, end_s: float, late_s: float) -> tuple[float, float]:
        """With what comes after the render. A late render and a late verdict seldom meet: their excess adds as do
        spreads of what is independent."""
        after_s = self.speeds.after_p50_s
        excess_s = math.hypot(late_s - end_s, self.speeds.after_p90_s - after_s)
        return end_s + after_s, end_s + after_s + excess_s

    @staticmethod
    def _answer(
        position: int | None,
        of: int,
        released: tuple[float, float] | None,
        reason: str,
        *,
        paced: bool = False,
    ) -> dict[str, object]:
        return {
            "position": position,
            "of": of,
            "p50_s": None if released is None else released[0],
            "p90_s": None if released is None else released[1],
            "reason": reason,
            "paced": paced,
        }


def _listed(parts: list[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
