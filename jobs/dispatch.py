"""The leader's dispatcher: keeps the fair queue in memory, fed from the outbox, and fills workers' slots."""

import asyncio
from datetime import timedelta

from arq.connections import ArqRedis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from backend.contracts import Heartbeat, Wish, Wishes
from backend.db import outbox
from backend.db.listen import OutboxBell
from backend.domain.attempt import Slot
from backend.domain.events import Consumer
from backend.domain.scheduling import FairQueue, Place, TierShare
from backend.domain.tiers import Tier
from backend.log import get_logger
from backend.services.dispatch_generation import Term, dispatch_generation, due_orders
from backend.services.scheduling_state import (
    JobNow,
    Speeds,
    promote_next,
    read_jobs,
    read_shares,
    read_speeds,
    read_workers,
)
from backend.studio import Studio
from jobs.collect import send_wishes
from jobs.fleet import Fleet, FleetWorker, Occupant
from jobs.queues import send_order

log = get_logger(__name__)

POLL_S = 1.0
BATCH = 500
HIDDEN = timedelta(seconds=10)
SPEEDS_EVERY_S = 10.0
RESEND_EVERY_S = 1.0


class Dispatcher:
    """One term's dispatching. Everything here is rebuilt from the database by `restore`."""

    def __init__(self, studio: Studio, term: Term, queues: ArqRedis, bell: OutboxBell) -> None:
        self._studio = studio
        self._term = term
        self._queues = queues
        self._bell = bell
        self._tiers: dict[str, Tier] = {}
        self._queue = FairQueue({"free": TierShare(weight=1)})
        self._fleet = Fleet()
        self._speeds = Speeds(p50=1.0, p90=1.5, after_p50_s=1.0, after_p90_s=3.0)
        self._places: tuple[float, dict[str, Place], dict[str, Place]] | None = None

    async def restore(self) -> None:
        """Load tiers, workers, waiting jobs and live attempts."""
        shares, self._tiers = await read_shares(self._studio)
        self._queue = FairQueue(shares)
        now_s = self._studio.clock.monotonic()
        async with self._studio.db.reading() as session:
            for worker in await read_workers(session):
                self._fleet.restore(
                    FleetWorker(
                        worker_id=worker.id,
                        recipes=frozenset(worker.recipes),
                        memory_gb=worker.memory_gb,
                        resident=frozenset(worker.resident),
                        takes_jobs=worker.state == "live",
                        heard_at_s=now_s,
                    )
                )
            jobs = await read_jobs(session, self._tiers)
        for now in jobs.values():
            self._put(now)
        self._speeds = await read_speeds(self._studio)
        log.info("dispatch.restored", term=self._term.number, jobs=len(jobs))

    async def run(self) -> None:
        """Dispatch until cancelled. Raises `NotLeading` when the term ended."""
        await self.restore()
        speeds_at = resend_at = self._studio.clock.monotonic()
        while True:
            try:
                full = await self._take_events()
                await self._fill_slots()
                now_s = self._studio.clock.monotonic()
                if now_s - resend_at >= RESEND_EVERY_S:
                    resend_at = now_s
                    for order in await due_orders(self._studio):
                        await send_order(self._queues, order)
                if now_s - speeds_at >= SPEEDS_EVERY_S:
                    speeds_at = now_s
                    self._speeds = await read_speeds(self._studio)
            except (SQLAlchemyError, RedisError, OSError) as error:
                log.warning("dispatch.waits", error=type(error).__name__)
                await asyncio.sleep(0.5)
                continue
            if not full:
                await self._bell.wait(POLL_S)

    async def saw(self, heartbeat: Heartbeat) -> None:
        """A worker was heard; wakes the dispatcher where that makes room."""
        was_busy = not self._fleet.room(self._studio.clock.monotonic())
        changed = self._fleet.saw(heartbeat, self._studio.clock.monotonic())
        if len(self._queue) and (changed or was_busy):
            self._bell.ring()

    async def refresh(self, job_ids: list[str]) -> None:
        """Read these jobs again and put each where it belongs now."""
        async with self._studio.db.reading() as session:
            found = await read_jobs(session, self._tiers, job_ids)
        for job_id in job_ids:
            await self._settle(job_id, found.get(job_id))
        self._places = None

    def places(self, job_ids: list[str]) -> dict[str, dict[str, object]]:
        """Place and expected end of jobs that wait or run, for those that asked."""
        now_s = self._studio.clock.monotonic()
        if self._places is None or now_s - self._places[0] > 0.5:
            self._places = (
                now_s,
                self._queue.places(self._fleet.views(now_s, self._speeds.p50), speed=self._speeds.p50),
                self._queue.places(self._fleet.views(now_s, self._speeds.p90), speed=self._speeds.p90),
            )
        _at, likely, late = self._places
        answers: dict[str, dict[str, object]] = {}
        for job_id in job_ids:
            if job_id in likely:
                place = likely[job_id]
                p90 = late.get(job_id, place)
                answers[job_id] = self._answer(place.position, place.of, place.end_s, p90.end_s, place.reason)
            elif (left_s := self._fleet.left_s_of(job_id, self._speeds.p50)) is not None:
                late_s = self._fleet.left_s_of(job_id, self._speeds.p90) or left_s
                answers[job_id] = self._answer(0, len(self._queue), left_s, late_s, "")
        return answers

    def wait_for(self, tier: str, account_id: str, recipe: str, gpu_s: float) -> tuple[float, float] | None:
        """Seconds (p50, p90) until a clip of this work would be there, were it sent now. None: no worker for it."""
        now_s = self._studio.clock.monotonic()
        views = [v for v in self._fleet.views(now_s, 1.0) if recipe in v.recipes]
        if not views:
            return None
        waiting = self._queue.work_ahead_s(tier=tier, account_id=account_id)
        start = min(v.busy_s for v in views) + waiting / len(views)
        return (
            (start + gpu_s) * self._speeds.p50 + self._speeds.after_p50_s,
            (start + gpu_s) * self._speeds.p90 + self._speeds.after_p90_s,
        )

    def _answer(
        self, position: int | None, of: int, end_s: float | None, late_s: float | None, reason: str
    ) -> dict[str, object]:
        return {
            "position": position,
            "of": of,
            "p50_s": None if end_s is None else end_s + self._speeds.after_p50_s,
            "p90_s": None if late_s is None else late_s + self._speeds.after_p90_s,
            "reason": reason,
        }

    async def _take_events(self) -> bool:
        async with self._studio.db.transaction() as session:
            events = await outbox.take(session, Consumer.DISPATCH, limit=BATCH, hidden=HIDDEN)
        if not events:
            return False
        await self.refresh(sorted({event.subject for event in events}))
        async with self._studio.db.transaction() as session:
            await outbox.mark_done(session, [event.id for event in events])
        await self._studio.wakeups.everyone_changed()
        return len(events) == BATCH

    async def _settle(self, job_id: str, now: JobNow | None) -> None:
        held = self._fleet.holds(job_id)
        if held is not None and (now is None or now.attempt_id != held):
            await self._vacate(job_id)
        if now is None or (now.waiting and job_id not in self._queue):
            self._queue.remove(job_id)
        if now is not None:
            self._put(now)

    async def _vacate(self, job_id: str) -> None:
        """The slot is free; tell its worker to stop, at once and not only at its next heartbeat."""
        where = self._fleet.left(job_id)
        if where is None:
            return
        worker_id, attempt_id = where
        for worker in self._fleet.live(self._studio.clock.monotonic()):
            if worker.worker_id == worker_id and Slot.RUN in worker.slots:
                await promote_next(self._studio, worker.slots[Slot.RUN].attempt_id)
        await send_wishes(
            self._studio.wakeups.redis,
            Wishes(worker_id=worker_id, attempts={attempt_id: Wish.STOP}, acknowledged=(attempt_id,)),
        )

    def _put(self, now: JobNow) -> None:
        if now.waiting:
            self._queue.add(now.job)
        elif now.attempt_id and now.worker_id and self._fleet.holds(now.job.job_id) != now.attempt_id:
            self._queue.start(now.job)
            occupant = Occupant(
                job_id=now.job.job_id, attempt_id=now.attempt_id, gpu_s=now.job.gpu_s, done=now.done
            )
            if self._fleet.knows(now.worker_id):
                self._fleet.occupy(now.worker_id, Slot(now.slot or "run"), occupant)

    async def _fill_slots(self) -> None:
        while len(self._queue):
            now_s = self._studio.clock.monotonic()
            filled = 0
            for worker, slot in self._fleet.room(now_s):
                view = next(v for v in self._fleet.views(now_s) if v.worker_id == worker.worker_id)
                job = self._queue.pick(view)
                if job is None:
                    continue
                order = await dispatch_generation(
                    self._studio, self._term, job_id=job.job_id, worker_id=worker.worker_id, slot=slot
                )
                if order is None:
                    await self.refresh([job.job_id])
                    continue
                self._queue.start(job)
                self._fleet.occupy(
                    worker.worker_id,
                    slot,
                    Occupant(job_id=job.job_id, attempt_id=order.attempt_id, gpu_s=job.gpu_s),
                )
                self._places = None
                filled += 1
                log.info(
                    "job.dispatched", job_id=job.job_id, attempt=order.attempt_id, worker_id=worker.worker_id
                )
                await send_order(self._queues, order)
            if not filled:
                return
