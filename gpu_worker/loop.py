"""The worker's loop: from order to report, whatever the engine. It survives bad orders and lost connections.

Attempts overlap: while one denoises (one at a time), the next waits with its inputs fetched, and the last is
encoded and uploaded.
"""

import asyncio
import hashlib
import json
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError

from backend.contracts import (
    AttemptPhase,
    CheckpointRef,
    FailureCause,
    Heartbeat,
    Order,
    Outcome,
    Report,
    ReportedArtifact,
    SignedObject,
    StageTimings,
    Wish,
)
from backend.log import get_logger
from backend.recipes import Recipe
from gpu_worker.attempt import AttemptInterruptedError, AttemptRun, Interrupt, Sinks
from gpu_worker.checkpoint import MAX_CHECKPOINT_BYTES, BadCheckpointError, Checkpoint
from gpu_worker.encode import EncodedClip, EncodedFile, encode_clip
from gpu_worker.engine import ConditioningImage, Engine, EngineClip, EngineError, Frames, RenderRequest
from gpu_worker.images import MAX_IMAGE_BYTES, BadImageError, fit_image
from gpu_worker.objects import ObjectClient, ObjectError, ObjectMismatchError, ObjectTooLargeError
from gpu_worker.preview import encode_preview
from gpu_worker.served import Served
from gpu_worker.uplink import Uplink

log = get_logger(__name__)

T = TypeVar("T")
Chore: TypeAlias = Coroutine[Any, Any, None]

MOST_ATTEMPTS_HELD = 4
ENDED_REMEMBERED = 2000
STUCK_EXIT_CODE = 70
_OUTCOMES = {
    Interrupt.STOP: Outcome.STOPPED,
    Interrupt.PREEMPT: Outcome.PREEMPTED,
    Interrupt.HAND_BACK: Outcome.HANDED_BACK,
}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The loop's intervals and patience, in seconds; how often a report is sent that nobody acknowledges."""

    heartbeat_s: float = 1.0
    heartbeat_gap_s: float = 0.1
    wishes_s: float = 1.0
    report_again_s: float = 2.0
    report_sends: int = 900
    stopped_report_sends: int = 3
    register_again_s: float = 30.0
    checkpoint_patience_s: float = 60.0
    preview_patience_s: float = 5.0
    report_object_patience_s: float = 30.0
    drain_s: float = 8.0
    drain_upload_s: float = 4.0
    drain_acknowledge_s: float = 1.0
    stuck_after_s: float = 120.0


class _RefusedError(Exception):
    def __init__(self, cause: FailureCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


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
        self._objects = objects
        self._recipes = recipes
        self._pace = pace or Pace()
        self._on_stuck = on_stuck
        self._runs: dict[str, AttemptRun] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._gpu = asyncio.Lock()
        self._engine_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._wishes_due = asyncio.Event()
        self._settled = asyncio.Event()
        self._reported = asyncio.Event()
        self._loading: str | None = None
        self._draining = False
        self._drain_wished = False
        self._seq = 0
        self._served = Served(engine, recipes)
        self._servable: tuple[str, ...] = ()
        self._checkpoint_costs_s: dict[str, float] = {}
        self._look_for_weights()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sinks = Sinks(
            changed=lambda: self._from_engine(self._changed.set),
            keep_checkpoint=lambda run, kept: self._from_engine(
                lambda: self._chore(run, self._keep_checkpoint(run, kept))
            ),
            show_preview=lambda run, frames: self._from_engine(
                lambda: self._chore(run, self._show_preview(run, frames))
            ),
        )

    async def run(self) -> None:
        """Heartbeats, wishes and reports, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._obey_wishes())
            group.create_task(self._uplink.listen(self._wishes_due.set))
            group.create_task(self._send_reports())
            group.create_task(self._keep_registered())

    def accept(self, raw: object) -> None:
        """Take an order as it came from the queue. A repeat brings fresh URLs; a bad one ends as a failed report."""
        try:
            order = (
                Order.model_validate_json(raw) if isinstance(raw, str | bytes) else Order.model_validate(raw)
            )
        except ValidationError as error:
            self._refuse_unreadable(raw, error)
            return
        if order.attempt_id in self._runs or order.attempt_id in self._ended:
            log.info("order.repeated", job_id=order.job_id, attempt=order.attempt_id)
            if order.attempt_id in self._runs:
                self._runs[order.attempt_id].order = order
            return
        held = sum(run.report is None for run in self._runs.values())
        if order.worker_id != self._worker_id or self._draining or held >= MOST_ATTEMPTS_HELD:
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
        async with self._gpu:
            self._loading = name
            try:
                await self._on_engine(lambda: self._engine.load(self._recipes[name]))
            except EngineError as error:
                log.warning("model.not_loaded", model=name, reason=str(error))
            finally:
                self._loading = None
        self._changed.set()

    async def drain(self) -> None:
        """Hand everything back: stop at the next step, keep a checkpoint, report. Ends within `drain_s`."""
        self._draining = True
        end = time.monotonic() + self._pace.drain_s
        for run in self._runs.values():
            if run.report is None:
                run.ask(Interrupt.HAND_BACK)
        self._changed.set()
        await self._settle(end, lambda: all(run.report is not None for run in self._runs.values()))
        for run in self._runs.values():
            if run.report is None:
                self._end(run, self._report(run, Outcome.HANDED_BACK, message="the worker was shut down"))
        acknowledged_by = min(end + 1.0, time.monotonic() + self._pace.drain_acknowledge_s)
        await self._settle(acknowledged_by, lambda: not self._runs)
        await self._uplink.send(self._heartbeat())

    async def _settle(self, end: float, settled: Callable[[], bool]) -> None:
        while not settled() and time.monotonic() < end:
            self._settled.clear()
            await _set_within(self._settled, end - time.monotonic())

    async def _carry_out(self, run: AttemptRun) -> None:
        order = run.order
        try:
            report = await self._render(run)
        except AttemptInterruptedError as error:
            await self._keep_last_checkpoint(run, error)
            report = self._report(run, _OUTCOMES[error.interrupt])
        except _RefusedError as error:
            report = self._failed(run, error.cause, str(error))
        except EngineError as error:
            report = self._failed(run, error.cause, str(error))
        except ObjectError as error:
            report = self._failed(run, FailureCause.STORAGE_ERROR, str(error))
        except Exception as error:  # the GPU loop's outer edge: one attempt must not end the worker
            log.exception("attempt.broke", job_id=order.job_id, attempt=order.attempt_id)
            report = self._failed(run, FailureCause.ENGINE_ERROR, f"{type(error).__name__}: {error}"[:500])
        for chore in run.chores:
            chore.cancel()
        self._checkpoint_costs_s[order.recipe] = run.checkpoint_cost_s
        if run.report is not None:
            return
        if report.outcome is not Outcome.STOPPED:
            await self._lay_beside(run, report)
        self._end(run, report)

    async def _render(self, run: AttemptRun) -> Report:
        order, started = run.order, time.monotonic()
        recipe = self._recipe_of(order)
        run.identity = self._engine.identity(recipe)
        request = await run.unless_asked(self._fetch(run))
        await run.unless_asked(self._gpu.acquire())
        try:
            run.obey()
            clip = await self._on_engine(lambda: self._generate(run, recipe, request))
        finally:
            self._gpu.release()
        run.phase = AttemptPhase.UPLOADING
        self._changed.set()
        with tempfile.TemporaryDirectory(prefix="zoetrope-") as folder:
            rendered = time.monotonic()
            encoded = await asyncio.to_thread(encode_clip, clip.frames, order.spec.fps, Path(folder))
            encode_s, uploading = time.monotonic() - rendered, time.monotonic()
            await run.unless_stopped(self._upload(run, encoded))
            upload_s = time.monotonic() - uploading
        log.info(
            "attempt.done",
            job_id=order.job_id,
            attempt=order.attempt_id,
            trace_id=order.trace_id,
            duration_s=round(time.monotonic() - started, 3),
        )
        timings = StageTimings(
            load_s=run.load_s,
            text_s=clip.text_s,
            denoise_s=clip.denoise_s,
            decode_s=clip.decode_s,
            encode_s=encode_s,
            upload_s=upload_s,
            checkpoint_s=run.checkpoint_s,
        )
        return self._report(run, Outcome.DONE).model_copy(
            update={
                "artifacts": _artifacts(order, encoded),
                "timings": timings,
                "exact_resume": clip.exact_resume,
                "resumed_from_step": clip.resumed_from_step,
            }
        )

    def _generate(self, run: AttemptRun, recipe: Recipe, request: RenderRequest) -> EngineClip:
        run.obey()
        run.on_phase(AttemptPhase.LOADING)
        self._loading, started = recipe.name, time.monotonic()
        try:
            self._engine.load(recipe)
        finally:
            self._loading, run.load_s = None, time.monotonic() - started
        run.obey()
        return self._engine.generate(recipe, request, run)

    async def _on_engine(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._engine_thread, work)

    def _recipe_of(self, order: Order) -> Recipe:
        recipe = self._recipes.get(order.recipe)
        if recipe is None or recipe.revision != order.recipe_revision:
            known = ", ".join(f"{each.name}@{each.revision}" for each in self._recipes.values())
            raise _RefusedError(
                FailureCause.MODEL_UNAVAILABLE,
                f"this worker has no recipe {order.recipe}@{order.recipe_revision}; it has {known}",
            )
        return recipe

    async def _fetch(self, run: AttemptRun) -> RenderRequest:
        spec = run.order.spec
        images = []
        for conditioning in spec.conditioning:
            frame_index = conditioning.frame_index + (spec.num_frames if conditioning.frame_index < 0 else 0)
            if not 0 <= frame_index < spec.num_frames:
                raise _RefusedError(
                    FailureCause.BAD_ORDER,
                    f"frame_index {conditioning.frame_index} is outside the clip's {spec.num_frames} frames",
                )
            try:
                data = await self._objects.get(
                    conditioning.image, limit_bytes=MAX_IMAGE_BYTES, sha256=conditioning.sha256
                )
                pixels = await asyncio.to_thread(fit_image, data, spec.width, spec.height)
            except (BadImageError, ObjectMismatchError, ObjectTooLargeError) as error:
                raise _RefusedError(FailureCause.BAD_INPUT, str(error)) from error
            images.append(
                ConditioningImage(pixels=pixels, frame_index=frame_index, strength=conditioning.strength)
            )
        checkpoint = await self._fetch_checkpoint(run)
        return RenderRequest(
            spec=spec,
            images=tuple(images),
            checkpoint=checkpoint,
            saves_memory=run.order.saves_memory,
        )

    async def _fetch_checkpoint(self, run: AttemptRun) -> Checkpoint | None:
        resume = run.order.resume
        if resume is None:
            return None
        if resume.identity != run.identity:
            log.info("checkpoint.of_another_worker", job_id=run.order.job_id, attempt=run.order.attempt_id)
            return None
        try:
            data = await self._objects.get(
                resume.checkpoint, limit_bytes=MAX_CHECKPOINT_BYTES, sha256=resume.sha256
            )
            return await asyncio.to_thread(Checkpoint.from_bytes, data)
        except (ObjectError, BadCheckpointError) as error:
            log.warning("checkpoint.unreadable", job_id=run.order.job_id, reason=str(error))
            return None

    async def _upload(self, run: AttemptRun, encoded: EncodedClip) -> None:
        # The order is asked anew for each: a repeat of it may have brought newer URLs meanwhile.
        await self._put_file(run.order.objects.clip, encoded.video)
        await self._put_file(run.order.objects.thumbnail, encoded.thumbnail)
        await self._put_file(run.order.objects.spritesheet, encoded.spritesheet)

    async def _put_file(self, target: SignedObject, file: EncodedFile) -> None:
        await self._objects.put(target, file.path, content_type=file.content_type)

    async def _keep_checkpoint(
        self, run: AttemptRun, checkpoint: Checkpoint, patience_s: float = 0.0
    ) -> None:
        target = run.spare_checkpoint_object()
        try:
            data = await asyncio.to_thread(checkpoint.to_bytes)
            await self._objects.put(
                target,
                data,
                content_type="application/octet-stream",
                give_up_after_s=patience_s or self._pace.checkpoint_patience_s,
            )
            run.durable = CheckpointRef(
                key=target.key,
                step=checkpoint.step,
                sha256=await asyncio.to_thread(_sha256, data),
                size_bytes=len(data),
                identity=checkpoint.identity,
            )
            self._changed.set()
        except ObjectError as error:
            log.warning("checkpoint.not_kept", job_id=run.order.job_id, reason=str(error))
        finally:
            run.checkpoint_busy = False

    async def _keep_last_checkpoint(self, run: AttemptRun, error: AttemptInterruptedError) -> None:
        checkpoint = error.checkpoint
        if checkpoint is None or error.interrupt is Interrupt.STOP:
            return
        patience_s = self._pace.drain_upload_s if self._draining else self._pace.checkpoint_patience_s
        # An older one may still be on its way to the spare object; the two must not race for it.
        if run.chores:
            _, late = await asyncio.wait(run.chores, timeout=patience_s / 2)
            for chore in late:
                chore.cancel()
        await self._keep_checkpoint(run, checkpoint, patience_s)

    async def _show_preview(self, run: AttemptRun, frames: Frames) -> None:
        try:
            picture = await asyncio.to_thread(encode_preview, frames)
            await self._objects.put(
                run.order.objects.preview,
                picture,
                content_type="image/webp",
                give_up_after_s=self._pace.preview_patience_s,
            )
            run.preview_version += 1
            self._changed.set()
        except ObjectError as error:
            log.info("preview.not_shown", job_id=run.order.job_id, reason=str(error))
        finally:
            run.preview_busy = False

    async def _lay_beside(self, run: AttemptRun, report: Report) -> None:
        patience_s = self._pace.drain_upload_s if self._draining else self._pace.report_object_patience_s
        try:
            await self._objects.put(
                run.order.objects.report,
                report.model_dump_json().encode(),
                content_type="application/json",
                give_up_after_s=patience_s,
            )
        except ObjectError as error:
            log.warning("report.not_laid_beside", job_id=run.order.job_id, reason=str(error))

    def _report(self, run: AttemptRun, outcome: Outcome, message: str = "") -> Report:
        order = run.order
        return Report(
            worker_id=self._worker_id,
            boot_id=self._boot_id,
            attempt_id=order.attempt_id,
            job_id=order.job_id,
            fence=order.fence,
            outcome=outcome,
            message=message,
            steps_done=run.step,
            steps=run.steps,
            resumed_from_step=run.resumed_from_step,
            identity=run.identity,
            checkpoint=run.durable,
            timings=StageTimings(load_s=run.load_s),
        )

    def _failed(self, run: AttemptRun, cause: FailureCause, message: str) -> Report:
        log.warning(
            "attempt.failed",
            job_id=run.order.job_id,
            attempt=run.order.attempt_id,
            trace_id=run.order.trace_id,
            cause=cause,
            reason=message,
        )
        return self._report(run, Outcome.FAILED, message).model_copy(update={"cause": cause})

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

    def _refuse_unreadable(self, raw: object, error: ValidationError) -> None:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = f"the order can't be read: {where}: {problem['msg']}"
        log.error("order.unreadable", reason=message)
        data: object = raw
        if isinstance(raw, str | bytes):
            try:
                data = json.loads(raw)
            except ValueError:
                return
        if not isinstance(data, dict):
            return
        try:
            report = Report.model_validate(
                {
                    **{key: data.get(key) for key in ("attempt_id", "job_id", "fence")},
                    "worker_id": self._worker_id,
                    "boot_id": self._boot_id,
                    "outcome": Outcome.FAILED,
                    "cause": FailureCause.BAD_ORDER,
                    "message": message,
                }
            )
        except ValidationError:
            return
        self._spawn(self._send_once(report))

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
            loading=self._loading,
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


def _artifacts(order: Order, encoded: EncodedClip) -> tuple[ReportedArtifact, ...]:
    objects = order.objects
    return (
        _artifact("video", objects.clip, encoded.video),
        _artifact("thumbnail", objects.thumbnail, encoded.thumbnail),
        _artifact("spritesheet", objects.spritesheet, encoded.spritesheet),
    )


def _artifact(kind: str, target: SignedObject, file: EncodedFile) -> ReportedArtifact:
    return ReportedArtifact(
        kind=kind,
        key=target.key,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        content_type=file.content_type,
        width=file.width,
        height=file.height,
        num_frames=file.num_frames,
        fps=file.fps,
        duration_s=file.duration_s,
        columns=file.columns,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def _set_within(event: asyncio.Event, timeout_s: float | None) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
