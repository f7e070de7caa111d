"""Stop a job. Its hold ends in the same transaction; the worker hears of it within a step or two seconds."""

from sqlalchemy import update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.db import outbox
from backend.db.models import Job, ReviewCase
from backend.db.repositories import jobs, ledger
from backend.domain.attempt import AttemptState
from backend.domain.errors import Conflict
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import ENDS, JobEvent, JobState
from backend.domain.review import CaseState
from backend.services.get_generation import get_generation, load_own
from backend.services.job_view import JobView
from backend.services.stop_cost import cost_of, stop_steps
from backend.studio import Studio


async def cancel_generation(
    studio: Studio, principal: Principal, job_id: str, *, seen_steps: int | None = None
) -> JobView:
    """Cancel; a job that was cancelled before is answered again. Raises `NotFound`, and `Conflict` once it is rendered.

    `seen_steps`: the `stop_steps` that the asker was shown; steps done since then are not charged. Of callers that
    race, one cancels and the others find it cancelled.
    """
    async with studio.db.transaction() as session:
        job = await load_own(session, principal, job_id)
        if not await cancel_in(session, job, seen_steps=seen_steps) and job.state != JobState.CANCELLED:
            raise Conflict(_too_late(JobState(job.state)), param="video_id")
    await studio.wakeups.account_changed(principal.account_id, job_id)
    return await get_generation(studio, principal, job_id)


async def cancel_in(session: AsyncSession, job: Job, *, seen_steps: int | None = None) -> bool:
    """Cancel within the caller's transaction, and leave the job as it is now. False: its state forbids it."""
    # Lock order everywhere: job, then attempt, then hold. Locked before its state is looked at: whoever comes second
    # sees what the first one did.
    await session.refresh(job, with_for_update=True)
    steps = (await stop_steps(session, [job])).get(job.id, 0)
    if seen_steps is not None:
        steps = max(0, min(steps, seen_steps))
    charge = cost_of(job, steps)
    if not await jobs.move(
        session,
        job,
        JobEvent.CANCELLED,
        charged=charge,
        charged_steps=steps,
        error_code="cancelled",
        error_message="Cancelled by its owner.",
    ):
        return False
    attempt = await jobs.live_attempt(session, job.id)
    if attempt is not None:
        await jobs.end_attempt(session, attempt, AttemptState.CANCELLED, cause="cancelled")
    await ledger.end_hold(session, job.id, charge=charge, reason="cancelled")
    await session.execute(
        update(ReviewCase)
        .where(col(ReviewCase.job_id) == job.id, col(ReviewCase.state).in_(["open", "decided"]))
        .values(state=CaseState.DROPPED.value)
        .execution_options(synchronize_session=False)
    )
    await outbox.put(
        session,
        [OutboxEvent(consumer=Consumer.DISPATCH, subject=job.id)],
        trace_id=job.trace_id,
    )
    return True


def _too_late(state: JobState) -> str:
    if state in ENDS:
        return f"The video is {state}; it can't be cancelled any more."
    return (
        "The clip is rendered and is being checked: it can't be cancelled any more."
        " Delete it if you don't want it; it is charged only if it could have been shown."
    )
