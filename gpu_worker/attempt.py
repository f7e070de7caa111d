"""One attempt inside this worker: where it stands, what was asked of it, and its engine's hooks."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from backend import metrics
from backend.contracts import AttemptPhase, AttemptStatus, CheckpointRef, Order, Report, SignedObject
from backend.domain.checkpoints import interval_s
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.engine import Frames, Interruption, StepBoundary

T = TypeVar("T")

EARLY_PREVIEWS = 4
EARLY_PREVIEW_SHARE = 0.2
PREVIEW_SHARE = 0.01
_STEP_S_WEIGHT = 0.3


class Interrupt(IntEnum):
    """Why a run should end early. A greater one outranks a smaller one."""

    HAND_BACK = 1
    PREEMPT = 2
    STOP = 3


class AttemptInterruptedError(Interruption):
    """The attempt was asked to end early, and did; with the state to go on from, where one was taken."""

    def __init__(self, interrupt: Interrupt, checkpoint: Checkpoint | None = None) -> None:
        super().__init__(interrupt.name.lower())
        self.interrupt = interrupt
        self.checkpoint = checkpoint


@dataclass(frozen=True, kw_only=True)
class Sinks:
    """Where a run's by-products go. Called on the engine's thread; they return at once."""

    changed: Callable[[], None]
    keep_checkpoint: Callable[["AttemptRun", Checkpoint], None]
    show_preview: Callable[["AttemptRun", Frames], None]


class AttemptRun:
    """State of one attempt, and the `Hooks` of its engine run.

    Single attributes are written by one thread and read by the other; nothing spans two of them. `sharing`: how many
    attempts are in its pass of the engine.
    `checkpoint_cost_s`: how long the engine stood still for the last checkpoint, at first as it did for another
    run of this recipe; `checkpoint_s` sums them up.
    """

    def __init__(self, order: Order, sinks: Sinks, checkpoint_cost_s: float = 0.0) -> None:
        self.order = order
        self.checkpoint_cost_s = checkpoint_cost_s
        self.checkpoint_s = 0.0
        self.phase = AttemptPhase.RECEIVED
        self.step = 0
        self.steps = order.spec.num_inference_steps
        self.step_s: float | None = None
        self._steps_timed = 0
        self.resumed_from_step = 0
        self.sharing = 1
        self.identity = ""
        self.durable: CheckpointRef | None = None
        self.preview_version = 0
        self.checkpoint_busy = False
        self.preview_busy = False
        self.report: Report | None = None
        self.report_sends = 0
        self.report_due_at = 0.0
        self.load_s = 0.0
        self.interrupt: Interrupt | None = None
        self.interrupted_at: float | None = None
        self.chores: set[asyncio.Task[None]] = set()
        self._asked = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._sinks = sinks
        self._last_step_at = 0.0
        self._checkpoint_due_at = 0.0
        self._preview_due_at = 0.0
        self._previews = 0

    def status(self) -> AttemptStatus:
        """What a heartbeat says of it."""
        return AttemptStatus(
            attempt_id=self.order.attempt_id,
            job_id=self.order.job_id,
            fence=self.order.fence,
            phase=self.phase,
            step=self.step,
            steps=self.steps,
            step_s=self.step_s,
            preview_version=self.preview_version,
            checkpoint=self.durable,
            resumed_from_step=self.resumed_from_step,
        )

    def begin_again(self) -> None:
        """Its pass broke: it waits for one of its own, from the first step."""
        self.phase, self.step, self.step_s, self.sharing = AttemptPhase.RECEIVED, 0, None, 1
        self._steps_timed = 0
        self._sinks.changed()

    def ask(self, interrupt: Interrupt) -> None:
        """Ask it to end early. Asked on the event loop, obeyed at the next boundary."""
        if self.interrupt is not None and interrupt <= self.interrupt:
            return
        self.interrupt = interrupt
        if self.interrupted_at is None:
            self.interrupted_at = time.monotonic()
        self._asked.set()
        if interrupt is Interrupt.STOP:
            self._stop_asked.set()

    def obey(self) -> None:
        """Raise if it was asked to end early."""
        if self.interrupt is not None:
            raise AttemptInterruptedError(self.interrupt)

    async def unless_asked(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result, or `AttemptInterruptedError` as soon as anything was asked."""
        return await self._unless(self._asked, work)

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result, or `AttemptInterruptedError` as soon as it is to stop for good."""
        return await self._unless(self._stop_asked, work)

    async def _unless(self, event: asyncio.Event, work: Awaitable[T]) -> T:
        working = asyncio.ensure_future(work)
        asked = asyncio.create_task(event.wait())
        try:
            await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            assert self.interrupt is not None
            raise AttemptInterruptedError(self.interrupt)
        finally:
            asked.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait({working})

    def spare_checkpoint_object(self) -> SignedObject:
        """The one of the two checkpoint objects that does not hold the newest durable one."""
        first, second = self.order.objects.checkpoint_a, self.order.objects.checkpoint_b
        return second if self.durable is not None and self.durable.key == first.key else first

    def on_phase(self, phase: AttemptPhase) -> None:
        """Engine hook: a phase begins."""
        self.phase = phase
        if phase is AttemptPhase.DENOISING:
            now = time.monotonic()
            self._last_step_at = now
            self._checkpoint_due_at = now + self._checkpoint_every_s()
            self._preview_due_at = now
        self._sinks.changed()

    def on_step(self, boundary: StepBoundary) -> None:
        """Engine hook: count the step, obey, and take checkpoint and preview when they are due."""
        now = time.monotonic()
        took_s = now - self._last_step_at
        # The first step of a run may compile: the pace is that of the others.
        if self.step_s is None or self._steps_timed < 2:
            self.step_s = took_s
        else:
            self.step_s += _STEP_S_WEIGHT * (took_s - self.step_s)
        self._steps_timed += 1
        metrics.denoise_step.labels(self.order.recipe).observe(took_s)
        self.step, self.steps = boundary.step, boundary.steps
        self.resumed_from_step = boundary.resumed_from_step
        self._sinks.changed()
        if self.interrupt is not None:
            kept = None if self.interrupt is Interrupt.STOP else boundary.checkpoint()
            raise AttemptInterruptedError(self.interrupt, kept)
        if boundary.step < boundary.steps:
            self._keep_checkpoint_if_due(boundary)
            self._show_preview_if_due(boundary)
        self._last_step_at = time.monotonic()

    def _keep_checkpoint_if_due(self, boundary: StepBoundary) -> None:
        started = time.monotonic()
        if started < self._checkpoint_due_at or self.checkpoint_busy:
            return
        checkpoint = boundary.checkpoint()
        if checkpoint is not None:
            self.checkpoint_busy = True
            self._sinks.keep_checkpoint(self, checkpoint)
        ended = time.monotonic()
        self.checkpoint_cost_s = ended - started
        self.checkpoint_s += self.checkpoint_cost_s
        self._checkpoint_due_at = ended + self._checkpoint_every_s()

    def _checkpoint_every_s(self) -> float:
        return interval_s(
            wanted_s=self.order.checkpoint_every_s,
            step_s=self.step_s or 0.0,
            cost_s=self.checkpoint_cost_s * self.sharing,
        )

    def _show_preview_if_due(self, boundary: StepBoundary) -> None:
        started = time.monotonic()
        if started < self._preview_due_at or self.preview_busy:
            return
        frames = boundary.preview()
        self.preview_busy = True
        self._sinks.show_preview(self, frames)
        self._previews += 1
        ended = time.monotonic()
        # The first ones come quickly, so that there is something to see; a long run then spends 1 % on them.
        share = EARLY_PREVIEW_SHARE if self._previews <= EARLY_PREVIEWS else PREVIEW_SHARE
        cost_s = (ended - started) * self.sharing
        self._preview_due_at = ended + max(self.order.preview_every_s, cost_s / share)
