"""An attempt ended without a clip: the job waits again, or fails for good and costs nothing."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db import outbox
from backend.db.models import Attempt, Job, Worker
from backend.db.repositories import jobs
from backend.domain.attempt import LIVE, AttemptState, Cause
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import ON_WORKER, JobEvent
from backend.domain.quarantine import is_sound
from backend.domain.retry import Failure, Memory, Outlook, outlook
from backend.domain.worker import IN_SERVICE
from backend.recipes import CATALOGUE
from backend.services.fail_job import fail_job
from backend.services.judge_worker import judge_worker, trials_of

WORKERS_FAILED = "workers_failed"
_MESSAGES = {
    Cause.BAD_ORDER: "The settings can't be rendered by this model.",
    Cause.BAD_INPUT: "The image could not be read by the model.",
    Cause.NOT_A_NUMBER: "The model gave no picture with these settings. Try another seed or fewer extremes.",
    Cause.OUT_OF_MEMORY: "This size and length need more memory than any worker here has. Try a smaller or shorter"
    " clip. You were not charged.",
    WORKERS_FAILED: "Our workers failed at it again and again. This is on us; you were not charged.",
}
_MESSAGE = "The clip could not be rendered. You were not charged."
_LEAST_STEP_UP_GB = 0.5
_LARGER = text(
    "SELECT EXISTS (SELECT 1 FROM workers WHERE state = ANY (:in_service) AND :recipe = ANY (recipes)"
    " AND memory_gb >= :memory_gb)"
)


async def return_job(
    session: AsyncSession,
    attempt: Attempt,
    state: AttemptState,
    *,
    cause: Cause,
    message: str = "",
    checkpoint: dict[str, object] | None = None,
) -> Job | None:
    """End the attempt in the caller's transaction and move its job on. None: it had ended before.

    A failure that is the job's own counts against it; one of a worker's counts against the worker.
    """
    job = await session.get(Job, attempt.job_id, with_for_update=True, populate_existing=True)
    if job is None or not await jobs.end_attempt(session, attempt, state, cause=cause, message=message):
        return None
    if job.fence != attempt.fence or job.state not in ON_WORKER:
        return None
    values: dict[str, object] = {} if checkpoint is None else {"checkpoint": checkpoint}
    await send_on(session, job, attempt, cause, **values)
    return job


async def send_on(session: AsyncSession, job: Job, attempt: Attempt, cause: Cause, **values: object) -> None:
    """After its attempt has ended without a clip: the job waits again, with these `values`, or fails.

    In the caller's transaction, which has locked the job. The workers whose attempts it met with are judged.
    """
    attempts = [
        a for a in await jobs.attempts_of(session, job.id) if a.id == attempt.id or a.state not in LIVE
    ]
    failures = [
        Failure(cause=cause if a.id == attempt.id else a.cause or "", worker_id=a.worker_id) for a in attempts
    ]
    follows = outlook(
        failures,
        worker_is_sound=is_sound(await trials_of(session, attempt.worker_id), job_id=job.id),
        memory=await _memory(session, job, attempt, attempts) if cause is Cause.OUT_OF_MEMORY else None,
    )
    if follows in (Outlook.JOB_FAILS, Outlook.WORKERS_FAIL):
        await _fail(session, job, cause if follows is Outlook.JOB_FAILS else WORKERS_FAILED)
    elif job.deleted_at is not None:
        # Its owner threw it away when it was rendered: it is not made again.
        await _fail(session, job, cause)
    else:
        if follows is Outlook.MORE_MEMORY:
            values["needs_memory_gb"] = await _memory_of(session, attempt.worker_id) + _LEAST_STEP_UP_GB
        elif follows is Outlook.LESS_HUNGRY:
            values["saves_memory"] = True
        await jobs.move(session, job, JobEvent.RETURNED, phase="", **values)
    await outbox.put(
        session, [OutboxEvent(consumer=Consumer.DISPATCH, subject=job.id)], trace_id=job.trace_id
    )
    for worker_id in sorted({each.worker_id for each in failures if each.cause == cause}):
        await judge_worker(session, worker_id)


async def _fail(session: AsyncSession, job: Job, code: str) -> None:
    await fail_job(session, job, code=code, message=_MESSAGES.get(code, _MESSAGE))


async def _memory(session: AsyncSession, job: Job, attempt: Attempt, attempts: Sequence[Attempt]) -> Memory:
    """What could help this job, which ran out of memory in this attempt."""
    recipe = CATALOGUE.get(job.recipe)
    here_gb = await _memory_of(session, attempt.worker_id)
    larger = await session.scalar(
        _LARGER,
        {
            "recipe": job.recipe,
            "memory_gb": here_gb + _LEAST_STEP_UP_GB,
            "in_service": [*IN_SERVICE],
        },
    )
    before = sum(
        a.cause == Cause.OUT_OF_MEMORY and a.saves_memory == job.saves_memory
        for a in attempts
        if a.id != attempt.id
    )
    return Memory(
        larger_worker=bool(larger),
        switch_left=bool(recipe and recipe.memory_switches) and not job.saves_memory,
        tries=before + 1,
    )


async def _memory_of(session: AsyncSession, worker_id: str) -> float:
    worker = await session.get(Worker, worker_id, populate_existing=True)
    return worker.memory_gb if worker is not None else 0.0
