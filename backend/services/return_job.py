"""An attempt ended without a clip: the job waits again, or fails for good and costs nothing."""

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db import outbox
from backend.db.models import Attempt, Job
from backend.db.repositories import jobs, ledger
from backend.domain.attempt import LIVE, AttemptState
from backend.domain.events import SWEEP_DELAY_S, Consumer, OutboxEvent
from backend.domain.generation import ON_WORKER, JobEvent
from backend.domain.retry import Blame, History, blame_of, gives_up

MESSAGES = {
    "bad_order": "The settings can't be rendered by this model.",
    "bad_input": "The image could not be read by the model.",
    "not_a_number": "The model gave no picture with these settings. Try another seed or fewer extremes.",
}


async def return_job(
    session: AsyncSession,
    attempt: Attempt,
    state: AttemptState,
    *,
    cause: str,
    message: str = "",
    checkpoint: dict[str, object] | None = None,
) -> Job | None:
    """End the attempt in the caller's transaction and move its job on. None: it had ended before.

    A failure that is the job's own counts against it; one of a worker's does not.
    """
    job = await session.get(Job, attempt.job_id, with_for_update=True, populate_existing=True)
    if job is None or not await jobs.end_attempt(session, attempt, state, cause=cause, message=message):
        return None
    if job.fence != attempt.fence or job.state not in ON_WORKER:
        return None
    ended = [a for a in await jobs.attempts_of(session, job.id) if a.id != attempt.id and a.state not in LIVE]
    causes = [cause, *(a.cause or "" for a in ended)]
    failures = [blame_of(c) for c in causes if c and blame_of(c) is not Blame.NOBODY]
    history = History(job_failures=failures.count(Blame.JOB), failed_attempts=len(failures))
    if gives_up(cause, history):
        await jobs.move(
            session,
            job,
            JobEvent.GAVE_UP,
            charged=0,
            error_code=cause,
            error_message=MESSAGES.get(cause, "The clip could not be rendered. You were not charged."),
        )
        await ledger.end_hold(session, job.id, charge=0, reason="failed")
        swept = OutboxEvent(consumer=Consumer.SWEEP, subject=job.id, delay_s=SWEEP_DELAY_S)
        await outbox.put(session, [swept], trace_id=job.trace_id)
    else:
        kept = {"checkpoint": checkpoint} if checkpoint is not None else {}
        await jobs.move(session, job, JobEvent.RETURNED, phase="", **kept)
    await outbox.put(
        session, [OutboxEvent(consumer=Consumer.DISPATCH, subject=job.id)], trace_id=job.trace_id
    )
    return job
