"""The worker's loop: takes orders, tells of them in heartbeats, obeys wishes, sends reports until they are taken.

It survives bad orders and lost connections. Attempts overlap: while one denoises, the next waits with its inputs
fetched, and the last is encoded and uploaded (`rendering`). Who shares the engine and when, `passes` says.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError

from backend.contracts import AttemptPhase, Heartbeat, Order, Outcome, Report, Wish
from backend.ending import end_tasks
from backend.log import get_logger
from backend.recipes import Recipe
from gpu_worker.attempt import AttemptRun, Interrupt, Sinks
from gpu_worker.delivery import Delivery
from gpu_worker.engine import Engine, EngineError
from gpu_worker.objects import ObjectClient
from gpu_worker.pace import Pace
from gpu_worker.passes import Passes
from gpu_worker.rendering import Rendering
from gpu_worker.reports import Reporter
from gpu_worker.served import Served
from gpu_worker.uplink import Uplink

log = get_logger(__name__)

Chore: TypeAlias = Coroutine[Any, Any, None]

MOST_PASSES_HELD = 4
ENDED_REMEMBERED = 2000
STUCK_EXIT_CODE = 70
END_S = 5.0


def leave_at_once() -> None:
    """End the process where its engine can't be stopped any other way; the supervisor starts it again."""
    os._exit(STUCK_EXIT_CODE)


class WorkerLoop:
    """Carries out orders one after the other and keeps the control plane informed."""

    def __init__(
        self,
        *,
        worker_id: str,
        boot_id: str,
        version: str,
        engine: Engine,
        uplink: Uplink,
        objects: ObjectClient,
        recipes: Mapping[str, Recipe],
        pace: Pace | None = None,
        on_stuck: Callable[[], None] = leave_at_once,
    ) -> None:
        self._worker_id = worker_id
        self._boot_id = boot_id
        self._version = version
        self._engine = engine
        self._uplink = uplink
        self._recipes = recipes
        self._pace = pace or Pace()
        self._on_stuck = on_stuck
        self._runs: dict[str, AttemptRun] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._wishes_due = asyncio.Event()
        self._settled = asyncio.Event()
        self._reported = asyncio.Event()
        self._draining = False
        self._drain_wished = False
        self._seq = 0
        self._served = Served(engine, recipes)
        self._servable: tuple[str, ...] = ()
        self._checkpoint_costs_s: dict[str, float] = {}
        self._look_for_weights()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reporter = Reporter(worker_id=worker_id, boot_id=boot_id)
        self._delivery = delivery = Delivery(objects, self._pace, self._changed.set)
        self._passes = Passes(engine, gather_s=self._pace.gather_s)
        self._rendering = Rendering(
            engine=engine,
            passes=self._passes,
            objects=objects,
            delivery=delivery,
            reporter=self._reporter,
            recipes=recipes,
        )
        self._sinks = Sinks(
            changed=lambda: self._from_engine(self._changed.set),
            keep_checkpoint=lambda run, kept: self._from_engine(
                lambda: self._chore(run, delivery.checkpoint(run, kept))
            ),
            show_preview=lambda run, frames: self._from_engine(
                lambda: self._chore(run, delivery.preview(run, frames))
            ),
        )

    async def run(self) -> None:
        """Heartbeats, wishes and reports, until cancelled."""
        parts = [
            asyncio.create_task(part)
            for part in (
                self._beat(),
                self._obey_wishes(),
                self._uplink.listen(self._wishes_due.set),
                self._send_reports(),
                self._keep_registered(),
            )
        ]
        try:
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in ended:
                part.result()
        finally:
            # A group cancels each once; where the Valkey client swallows that, it would wait for ever.
            await end_tasks(*parts, within_s=END_S)

    def accept(self, raw: object) -> None:
        """Take an order as it came from the queue. A repeat brings fresh URLs; a bad one ends as a failed report."""
        try:
            order = (
                Order.model_validate_json(raw) if isinstance(raw, str | bytes) else Order.model_validate(raw)
            )
        except ValidationError as error:
            refusal = self._reporter.unreadable(raw, error)
            if refusal is not None:
                self._spawn(self._send_once(refusal))
            return
        if order.attempt_id in self._runs or order.attempt_id in self._ended:
            log.info("order.repeated", job_id=order.job_id, attempt=order.attempt_id)
            if order.attempt_id in self._runs:
                self._runs[order.attempt_id].order = order
            return
        held = {_pass_of(run.order) for run in self._runs.values() if run.report is None} | {_pass_of(order)}
        if order.worker_id != self._worker_id or self._draining or len(held) > MOST_PASSES_HELD:
            # No heartbeat will name it, so the control plane finds another place for it.
            log.warning(
                "order.not_taken", job_id=order.job_id, attempt=order.attempt_id, draining=self._draining
            )
            return
        for other in self._runs.values():
            if other.order.job_id == order.job_id and other.order.fence < order.fence:
                other.ask(Interrupt.STOP)
        run = AttemptRun(order, self._sinks, self._checkpoint_costs_s.get(order.recipe, 0.0))
        self._runs[order.attempt_id] = run
        log.info(
            "attempt.received",
            job_id=order.job_id,
            attempt=order.attempt_id,
            trace_id=order.trace_id,
            recipe=order.recipe,
        )
        self._spawn(self._carry_out(run))
        # What starts at once is said once, as started; a heartbeat before it would hold that back by the gap.
        self._loop.call_later(self._pace.heartbeat_gap_s, self._changed.set)

    async def warm_up(self, name: str) -> None:
        """Load a recipe before the first order asks for it, if it can be served here."""
        if name not in self._servable:
            return
        try:
            await self._passes.warm_up(self._recipes[name])
        except EngineError as error:
            log.warning("model.not_loaded", model=name, reason=str(error))
        self._changed.set()

    async def drain(self) -> None:
        """Hand everything back: stop at the next step, keep a checkpoint, report. Ends within `drain_s`."""
        self._draining = self._delivery.hurried = True
        end = time.monotonic() + self._pace.drain_s
        for run in self._runs.values():
            if run.report is None:
                run.ask(Interrupt.HAND_BACK)
        self._changed.set()
        await self._settle(end, lambda: all(run.report is not None for run in self._runs.values()))
        for run in self._runs.values():
            if run.report is None:
                self._end(run, self._reporter.ended(run, Outcome.HANDED_BACK, "the worker was shut down"))
        acknowledged_by = min(end + 1.0, time.monotonic() + self._pace.drain_acknowledge_s)
        await self._settle(acknowledged_by, lambda: not self._runs)
        await self._uplink.send(self._heartbeat())

    async def _settle(self, end: float, settled: Callable[[], bool]) -> None:
        while not settled() and time.monotonic() < end:
            self._settled.clear()
            await _set_within(self._settled, end - time.monotonic())

    async def _carry_out(self, run: AttemptRun) -> None:
        report = await self._rendering.carry_out(run)
        self._checkpoint_costs_s[run.order.recipe] = run.checkpoint_cost_s
        if report is not None:
            self._end(run, report)

    def _end(self, run: AttemptRun, report: Report) -> None:
        """From here on the attempt is named in heartbeats, and so keeps its lease, until someone has its report."""
        run.report, run.phase = report, AttemptPhase.REPORTED
        run.report_due_at = 0.0
        for event in (self._changed, self._settled, self._reported):
            event.set()

    def _forget(self, attempt_id: str) -> None:
        self._runs.pop(attempt_id, None)
        self._settled.set()
        self._ended[attempt_id] = None
        while len(self._ended) > ENDED_REMEMBERED:
            self._ended.popitem(last=False)

    async def _send_once(self, report: Report) -> None:
        await self._uplink.send(report)

    def _heartbeat(self) -> Heartbeat:
        self._seq += 1
        return Heartbeat(
            worker_id=self._worker_id,
            boot_id=self._boot_id,
            seq=self._seq,
            version=self._version,
            hardware=self._engine.hardware,
            recipes=self._servable,
            resident=self._engine.resident(),
            loading=self._passes.loading,
            draining=self._draining or self._drain_wished,
            attempts=tuple(run.status() for run in self._runs.values()),
        )

    async def _beat(self) -> None:
        while True:
            self._changed.clear()
            await self._uplink.send(self._heartbeat())
            await asyncio.sleep(self._pace.heartbeat_gap_s)
            await _set_within(self._changed, self._pace.heartbeat_s - self._pace.heartbeat_gap_s)

    async def _send_reports(self) -> None:
        while True:
            self._reported.clear()
            for attempt_id, run in list(self._runs.items()):
                if run.report is not None and run.report_due_at <= time.monotonic():
                    await self._send_report(attempt_id, run, run.report)
            due_at = [run.report_due_at for run in self._runs.values() if run.report is not None]
            await _set_within(self._reported, min(due_at) - time.monotonic() if due_at else None)

    async def _send_report(self, attempt_id: str, run: AttemptRun, report: Report) -> None:
        if await self._uplink.send(report):
            run.report_sends += 1
        run.report_due_at = time.monotonic() + self._pace.report_again_s
        stopped = report.outcome is Outcome.STOPPED
        if run.report_sends < (self._pace.stopped_report_sends if stopped else self._pace.report_sends):
            return
        if not stopped:
            # A report that can't be taken must not hold a lease for ever: the reaper finds the one beside the clip.
            log.error("report.never_acknowledged", job_id=run.order.job_id, attempt=attempt_id)
        self._forget(attempt_id)

    async def _obey_wishes(self) -> None:
        while True:
            self._wishes_due.clear()
            wishes = await self._uplink.wishes()
            if wishes is not None and wishes.worker_id == self._worker_id:
                self._drain_wished = wishes.drain
                for attempt_id in wishes.acknowledged:
                    run = self._runs.get(attempt_id)
                    if run is not None and run.report is not None:
                        self._forget(attempt_id)
                for attempt_id, wish in wishes.attempts.items():
                    self._obey_wish(attempt_id, wish)
            self._leave_if_stuck()
            await _set_within(self._wishes_due, self._pace.wishes_s)

    def _obey_wish(self, attempt_id: str, wish: Wish) -> None:
        run = self._runs.get(attempt_id)
        if run is None or wish is Wish.GO:
            return
        if run.report is None:
            run.ask(Interrupt.STOP if wish is Wish.STOP else Interrupt.PREEMPT)
        elif wish is Wish.STOP and run.report.outcome is not Outcome.STOPPED:
            self._forget(attempt_id)

    def _leave_if_stuck(self) -> None:
        for run in self._runs.values():
            if run.report is not None or run.interrupted_at is None or run.interrupt is not Interrupt.STOP:
                continue
            patience_s = max(self._pace.stuck_after_s, 5 * (run.step_s or 0.0))
            if time.monotonic() - run.interrupted_at > patience_s:
                log.error(
                    "attempt.stuck", job_id=run.order.job_id, attempt=run.order.attempt_id, phase=run.phase
                )
                self._on_stuck()

    async def _keep_registered(self) -> None:
        while True:
            self._look_for_weights()
            reached = await self._uplink.register()
            await asyncio.sleep(self._pace.register_again_s if reached else self._pace.heartbeat_s)

    def _look_for_weights(self) -> None:
        self._servable = self._served.look()

    def _chore(self, run: AttemptRun, work: Chore) -> None:
        task = asyncio.create_task(work)
        run.chores.add(task)
        task.add_done_callback(run.chores.discard)

    def _spawn(self, work: Chore) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _from_engine(self, call: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)


def _pass_of(order: Order) -> str:
    return order.batch.id if order.batch is not None else order.attempt_id


async def _set_within(event: asyncio.Event, timeout_s: float | None) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
