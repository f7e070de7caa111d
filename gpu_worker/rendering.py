"""Carries one order out, from its inputs to its report, whatever the engine."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType

from backend.contracts import AttemptPhase, FailureCause, Order, Outcome, Report
from backend.log import get_logger
from backend.recipes import Recipe
from backend.scratch import scratch_folder
from gpu_worker.attempt import AttemptInterruptedError, AttemptRun, Interrupt
from gpu_worker.delivery import Delivery
from gpu_worker.encode import encode_clip
from gpu_worker.engine import Engine, EngineError
from gpu_worker.inputs import RefusedError, fetch_request
from gpu_worker.objects import ObjectClient, ObjectError
from gpu_worker.passes import Passes
from gpu_worker.reports import Reporter

log = get_logger(__name__)

_OUTCOMES = MappingProxyType(
    {
        Interrupt.STOP: Outcome.STOPPED,
        Interrupt.PREEMPT: Outcome.PREEMPTED,
        Interrupt.HAND_BACK: Outcome.HANDED_BACK,
    }
)


class Rendering:
    """What every order goes through here. Several overlap; the engine is in one pass at a time."""

    def __init__(
        self,
        *,
        engine: Engine,
        passes: Passes,
        objects: ObjectClient,
        delivery: Delivery,
        reporter: Reporter,
        recipes: Mapping[str, Recipe],
    ) -> None:
        self._engine = engine
        self._passes = passes
        self._objects = objects
        self._delivery = delivery
        self._reporter = reporter
        self._recipes = recipes

    async def carry_out(self, run: AttemptRun) -> Report | None:
        """The report on this attempt, laid beside its clip. None: it was ended from outside meanwhile."""
        try:
            report = await self._render(run)
        except AttemptInterruptedError as error:
            await self._delivery.last_checkpoint(run, error)
            report = self._reporter.ended(run, _OUTCOMES[error.interrupt])
        except RefusedError as error:
            report = self._reporter.failed(run, error.cause, str(error))
        except EngineError as error:
            report = self._reporter.failed(run, error.cause, str(error))
        except ObjectError as error:
            report = self._reporter.failed(run, FailureCause.STORAGE_ERROR, str(error))
        except Exception as error:  # the GPU loop's outer edge: one attempt must not end the worker
            order, reason = run.order, f"{type(error).__name__}: {error}"[:500]
            log.exception("attempt.broke", job_id=order.job_id, attempt=order.attempt_id)
            report = self._reporter.failed(run, FailureCause.ENGINE_ERROR, reason)
        for chore in run.chores:
            chore.cancel()
        if run.report is not None:
            return None
        if report.outcome is not Outcome.STOPPED:
            await self._delivery.report_beside(run, report)
        return report

    async def _render(self, run: AttemptRun) -> Report:
        order, started = run.order, time.monotonic()
        recipe = self._recipe_of(order)
        run.identity = self._engine.identity(recipe)
        request = await run.unless_asked(fetch_request(self._objects, run))
        clip = await self._passes.render(run, recipe, request)
        run.on_phase(AttemptPhase.UPLOADING)
        with scratch_folder() as folder:
            rendered = time.monotonic()
            encoded = await asyncio.to_thread(encode_clip, clip.frames, order.spec.fps, folder)
            encode_s, uploading = time.monotonic() - rendered, time.monotonic()
            await run.unless_stopped(self._delivery.clip(run, encoded))
            upload_s = time.monotonic() - uploading
        log.info(
            "attempt.done",
            job_id=order.job_id,
            attempt=order.attempt_id,
            trace_id=order.trace_id,
            duration_s=round(time.monotonic() - started, 3),
        )
        return self._reporter.done(run, clip, encoded, encode_s=encode_s, upload_s=upload_s)

    def _recipe_of(self, order: Order) -> Recipe:
        recipe = self._recipes.get(order.recipe)
        if recipe is None or recipe.revision != order.recipe_revision:
            known = ", ".join(f"{each.name}@{each.revision}" for each in self._recipes.values())
            raise RefusedError(
                FailureCause.MODEL_UNAVAILABLE,
                f"this worker has no recipe {order.recipe}@{order.recipe_revision}; it has {known}",
            )
        return recipe
