"""The leader's dispatcher: keeps the fair queue in memory, fed from the outbox, and fills workers' slots."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from arq.connections import ArqRedis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from backend.contracts import Heartbeat
from backend.db import outbox
from backend.db.listen import OutboxBell
from backend.domain.attempt import Slot
from backend.domain.events import Consumer
from backend.domain.preemption import Run, choose_victim
from backend.domain.scheduling import FairQueue, QueuedJob, WorkerView
from backend.domain.tiers import Tier
from backend.domain.worker import WorkerState
from backend.log import get_logger
from backend.recipes import CATALOGUE
from backend.services.dispatch_generation import NotLeading, Term, dispatch_batch, due_orders
from backend.services.judge_worker import read_standings
from backend.services.preempt_generation import preempt_generation
from backend.services.scheduling_state import (
    FIRST_SPEEDS,
    JobNow,
    promote_next,
    read_jobs,
    read_jobs_on_workers,
    read_rendered,
    read_shares,
    read_speeds,
    read_waiting,
    read_workers,
)
from backend.services.worker_wishes import wishes_of
from backend.studio import Studio
from jobs.collect import send_wishes
from jobs.fleet import Fleet, FleetWorker, Occupant
from jobs.outlook import Outlook
from jobs.places_moved import PlacesMoved
from jobs.queues import send_order
from jobs.uncollected import uncollected

log = get_logger(__name__)

POLL_S = 1.0
BATCH = 500
HIDDEN = timedelta(seconds=10)
SPEEDS_EVERY_S = 10.0
TEND_EVERY_S = 1.0
MOST_PROMISES_AT_ONCE = 20
"""Of jobs that come together: a promise takes half a millisecond, and so many teach enough."""


class Dispatcher:
    """One term's dispatching. Everything here is rebuilt from the database by `restore`."""

    def __init__(self, studio: Studio, term: Term, queues: ArqRedis, bell: OutboxBell) -> None:
        self._studio = studio
        self._term = term
        self._queues = queues
        self._bell = bell
        self._tiers: dict[str, Tier] = {}
        self._fleet = Fleet()
        self._queue = FairQueue({})
        self._outlook = Outlook(self._queue, self._fleet, {}, FIRST_SPEEDS)
        self._places = PlacesMoved(studio.wakeups.everyone_changed, studio.clock)
        self._stops: dict[str, int] = {}
        self._stopping: dict[str, float] = {}
        self._restored = False

    async def restore(self) -> None:
        """Load tiers, workers, live attempts and waiting jobs. The queue is used from when it is whole."""
        shares, self._tiers = await read_shares(self._studio)
        speeds = await read_speeds(self._studio)
        mono_s = self._studio.clock.monotonic()
        async with self._studio.db.reading() as session:
            for worker in await read_workers(session):
                self._fleet.restore(
                    FleetWorker(
                        worker_id=worker.id,
                        recipes=frozenset(worker.recipes),
                        memory_gb=worker.memory_gb,
                        resident=frozenset(worker.resident),
                        draining=worker.state == WorkerState.DRAINING,
                        heard_at_s=mono_s,
                    )
                )
            on_workers = await read_jobs_on_workers(session, self._tiers)
        await self._look_at_standings()
        queue = FairQueue(shares)
        queue.serve(self._fleet.views(mono_s))
        # First what runs: were it to come back, it would be before what its account has waiting.
        for now in on_workers:
            self._put_on_worker(queue, now)
        with uncollected():
            async for jobs in read_waiting(self._studio.db, self._tiers):
                queue.enter(jobs)
            for _pause in queue.line_up(self._now_s()):
                await asyncio.sleep(0)
        self._queue = queue
        self._outlook = Outlook(queue, self._fleet, shares, speeds)
        self._restored = True
        log.info("dispatch.restored", term=self._term.number, jobs=len(queue) + len(on_workers))

    async def run(self) -> None:
        """Dispatch until cancelled. Raises `NotLeading` when the term ended."""
        try:
            await self.restore()
            await self._dispatch()
        finally:
            # By hand: no collection finds it (see `uncollected`), and the process may come to lead again.
            self._queue = FairQueue({})
            self._outlook = Outlook(self._queue, self._fleet, {}, FIRST_SPEEDS)

    async def _dispatch(self) -> None:
        speeds_at = tended_at = self._studio.clock.monotonic()
        while True:
            try:
                events = await self._take_events()
                await self._fill_slots()
                await self._are_done(events)
                await self._places.tell()
                mono_s = self._studio.clock.monotonic()
                if mono_s - tended_at >= TEND_EVERY_S:
                    tended_at = mono_s
                    await self._tend()
                if mono_s - speeds_at >= SPEEDS_EVERY_S:
                    speeds_at = mono_s
                    self._outlook.goes_at(await read_speeds(self._studio))
            except (SQLAlchemyError, RedisError, OSError) as error:
                log.warning("dispatch.waits", error=type(error).__name__)
                await asyncio.sleep(0.5)
                continue
            except NotLeading:
                raise
            except Exception:  # an outer edge: what nobody foresaw must not end the leader
                log.exception("dispatch.broke")
                await asyncio.sleep(0.5)
                continue
            if len(events) < BATCH:
                await self._bell.wait(POLL_S)

    async def saw(self, heartbeat: Heartbeat) -> None:
        """A worker was heard; wakes the dispatcher where that makes room."""
        mono_s = self._studio.clock.monotonic()
        before = any(view.free and view.busy_s <= 0 for view in self._fleet.views(mono_s))
        changed = self._fleet.saw(heartbeat, mono_s)
        if len(self._queue) and (changed or not before):
            self._bell.ring()

    def waits(self, job_id: str) -> bool:
        """Whether the queue knows this job. Before the queue is rebuilt nobody can say that it doesn't."""
        return not self._restored or job_id in self._queue

    async def refresh(self, job_ids: list[str]) -> None:
        """Read these jobs again and put each where it belongs now."""
        async with self._studio.db.single() as session:
            found = await read_jobs(session, self._tiers, job_ids)
            gone = [job_id for job_id in job_ids if job_id not in found]
            rendered = await read_rendered(session, gone)
        for job_id in job_ids:
            if job_id in rendered:
                self._outlook.rendered(job_id, self._now_s())
            elif job_id not in found:
                self._outlook.left(job_id)
            await self._settle(job_id, found.get(job_id))
        now_s, mono_s = self._now_s(), self._studio.clock.monotonic()
        for job_id in job_ids[:MOST_PROMISES_AT_ONCE]:
            self._outlook.promise(job_id, now_s, mono_s)

    def places(self, job_ids: list[str]) -> dict[str, dict[str, object]]:
        """Place and expected end of jobs that wait or run, for those that asked."""
        now_s, mono_s = self._now_s(), self._studio.clock.monotonic()
        answers = {job_id: self._outlook.place(job_id, now_s, mono_s) for job_id in job_ids}
        return {job_id: answer for job_id, answer in answers.items() if answer is not None}

    def wait_for(
        self, tier: str, account_id: str, recipe: str, gpu_s: float, steps: int
    ) -> tuple[float, float] | None:
        """Seconds (p50, p90) until a clip of this work would be there, were it sent now. None: no worker for it."""
        known = CATALOGUE.get(recipe)
        now_s = self._now_s()
        job = QueuedJob(
            job_id="",
            account_id=account_id,
            tier=tier,
            recipe=recipe,
            memory_gb=known.memory_gb if known else 0.0,
            gpu_s=gpu_s,
            submitted_s=now_s,
            concurrency_limit=1,
            load_s=known.cost.load_s if known else 0.0,
            step_gpu_s=known.cost.step_gpu_s(gpu_s, steps) if known else 0.0,
        )
        return self._outlook.wait_for(job, now_s, self._studio.clock.monotonic())

    def _now_s(self) -> float:
        return self._studio.clock.now().timestamp()

    async def _take_events(self) -> list[outbox.TakenEvent]:
        async with self._studio.db.single() as session:
            events = await outbox.take(session, Consumer.DISPATCH, limit=BATCH, hidden=HIDDEN)
        if events:
            await self.refresh(sorted({event.subject for event in events}))
        return events

    async def _are_done(self, events: Sequence[outbox.TakenEvent]) -> None:
        """After slots were filled: no job waits for its events to be crossed out."""
        if events:
            async with self._studio.db.single() as session:
                await outbox.mark_done(session, [event.id for event in events])
            self._places.moved()

    async def _settle(self, job_id: str, now: JobNow | None) -> None:
        held = self._fleet.holds(job_id)
        if held is not None and (now is None or now.attempt_id != held):
            await self._vacate(job_id)
        if now is None or (not now.waiting and job_id in self._queue):
            self._queue.remove(job_id)
        if now is None:
            self._stops.pop(job_id, None)
        else:
            self._put(now)

    async def _vacate(self, job_id: str) -> None:
        """The slot is free; tell its worker to stop, at once and not only at its next heartbeat."""
        where = self._fleet.left(job_id)
        if where is None:
            return
        worker_id, attempt_id = where
        self._stopping.pop(attempt_id, None)
        following = self._fleet.runs(worker_id)
        if following:
            await promote_next(self._studio, following)
        async with self._studio.db.reading() as session:
            wishes = await wishes_of(session, worker_id, also=[attempt_id])
        await send_wishes(self._studio.wakeups.redis, wishes)

    def _put(self, now: JobNow) -> None:
        if not now.waiting:
            self._put_on_worker(self._queue, now)
        elif now.job.job_id not in self._queue:
            self._outlook.asked(now.job, self._now_s())
            self._queue.add(now.job)

    def _put_on_worker(self, queue: FairQueue, now: JobNow) -> None:
        if not (now.attempt_id and now.worker_id) or self._fleet.holds(now.job.job_id) == now.attempt_id:
            return
        queue.start(now.job, self._now_s())
        occupant = Occupant(
            job_id=now.job.job_id,
            attempt_id=now.attempt_id,
            recipe=now.job.recipe,
            gpu_s=now.job.gpu_s,
            done=now.done,
            step_gpu_s=now.job.step_gpu_s,
            load_s=now.job.load_s,
        )
        if self._fleet.knows(now.worker_id):
            self._fleet.occupy(now.worker_id, Slot(now.slot or "run"), occupant)

    async def _fill_slots(self) -> None:
        without: set[str] = set()
        while len(self._queue):
            for _pause in self._queue.serving(self._fleet.views(self._studio.clock.monotonic())):
                await asyncio.sleep(0)
            mono_s = self._studio.clock.monotonic()
            found = self._queue.next_start(self._fleet.views(mono_s, without=without), self._now_s())
            if found is None:
                return
            refused = await self._give(*found, mono_s)
            if refused:
                # The database knows better: this worker gets nothing more in this round.
                without.add(found[0].worker_id)
                await self.refresh(refused)

    async def _give(self, worker: WorkerView, job: QueuedJob, mono_s: float) -> list[str]:
        """Give a worker the job, and what may share its pass. Those that it could not be given are returned."""
        worker_id, recipe = worker.worker_id, CATALOGUE.get(job.recipe)
        slot = self._fleet.slot_for(worker_id)
        if slot is None:
            return [job.job_id]
        most = 0 if recipe is None or self._fleet.takes_one(worker_id) else recipe.max_batch - 1
        beside = self._queue.batch_with(job, worker, self._fleet.views(mono_s), most=most)
        wanted = {each.job_id: each for each in (job, *beside)}
        orders = await dispatch_batch(
            self._studio, self._term, job_ids=list(wanted), worker_id=worker_id, slot=slot
        )
        for order in orders:
            given = wanted.pop(order.job_id)
            self._queue.start(given, self._now_s(), in_batch=given is not job)
            self._fleet.occupy(
                worker_id,
                slot,
                Occupant(
                    job_id=given.job_id,
                    attempt_id=order.attempt_id,
                    recipe=given.recipe,
                    gpu_s=given.gpu_s,
                    step_gpu_s=given.step_gpu_s,
                    load_s=given.load_s,
                ),
            )
            log.info("job.dispatched", job_id=given.job_id, attempt=order.attempt_id, worker_id=worker_id)
        for order in orders:
            await send_order(self._queues, order)
        return list(wanted)

    async def _tend(self) -> None:
        """What is due every second: orders again, workers' standings, full tiers, a job to stop for another."""
        for order in await due_orders(self._studio):
            await send_order(self._queues, order)
        await self._look_at_standings()
        now_s, mono_s = self._now_s(), self._studio.clock.monotonic()
        await self._studio.wakeups.say_full(self._outlook.full_tiers(now_s, mono_s))
        await self._preempt(now_s, mono_s)

    async def _look_at_standings(self) -> None:
        for worker_id, allowed in (await read_standings(self._studio)).items():
            self._fleet.may_take(worker_id, allowed)

    async def _preempt(self, now_s: float, mono_s: float) -> None:
        """Ask a worker to stop all that is in its pass, where a job of another tier can't wait for it."""
        passes = {
            run.job.job_id: (run, together)
            for view, together in self._fleet.running(mono_s)
            if (run := self._run_of(view, together, mono_s)) is not None
        }
        victim = choose_victim(self._queue, [run for run, _together in passes.values()], now_s)
        if victim is None:
            return
        for occupant in passes[victim.job.job_id][1]:
            asked = await preempt_generation(self._studio, self._term, attempt_id=occupant.attempt_id)
            if asked is not None:
                self._stops[asked.job_id] = victim.stopped + 1
                self._stopping[occupant.attempt_id] = mono_s + asked.within.total_seconds()
                await send_wishes(self._studio.wakeups.redis, asked.wishes)

    def _run_of(self, worker: WorkerView, together: list[Occupant], mono_s: float) -> Run | None:
        """What a worker runs, as something to stop. None: it is stopping, or the queue knows nothing of it."""
        first = together[0]
        job = self._queue.running_job(first.job_id)
        left = self._fleet.left_s_of(first.job_id)
        if job is None or left is None:
            return None
        if any(self._stopping.get(each.attempt_id, 0.0) > mono_s for each in together):
            return None
        return Run(
            worker=worker,
            job=job,
            left_s=left[0],
            stop_s=(first.step_s or 1.0) + 1.0,
            stopped=max(self._stops.get(each.job_id, 0) for each in together),
        )
