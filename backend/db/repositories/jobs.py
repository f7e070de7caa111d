"""Loading jobs, and the one way in which a job's state is saved."""

from collections.abc import Sequence

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Attempt, Job
from backend.domain.attempt import LIVE, AttemptState
from backend.domain.generation import ENDS, IllegalTransition, JobEvent, JobState, Snapshot, advance

Value = object


async def load(session: AsyncSession, job_id: str) -> Job | None:
    """The job, or None."""
    return await session.get(Job, job_id)


async def move(session: AsyncSession, job: Job, event: JobEvent, **values: Value) -> bool:
    """Save the state after `event` and `values`, if the job is still as it was read.

    False: the event can't happen in its state, or someone else was first; then stop quietly.
    """
    try:
        after = advance(Snapshot(state=JobState(job.state), version=job.version), event)
    except IllegalTransition:
        return False
    if after.state in ENDS:
        values = {"ended_at": func.now(), **values}
    result = await session.execute(
        update(Job)
        .where(col(Job.id) == job.id, col(Job.state) == job.state, col(Job.version) == job.version)
        .values(state=after.state.value, version=after.version, **values)
        .execution_options(synchronize_session=False)
    )
    if getattr(result, "rowcount", 0) != 1:
        return False
    await session.refresh(job)
    return True


async def live_attempt(session: AsyncSession, job_id: str, *, lock: bool = False) -> Attempt | None:
    """The attempt of this job that is ordered or running, if any; there is at most one."""
    query = select(Attempt).where(Attempt.job_id == job_id, col(Attempt.state).in_([*LIVE]))
    if lock:
        query = query.with_for_update()
    return (await session.exec(query)).one_or_none()


async def end_attempt(
    session: AsyncSession,
    attempt: Attempt,
    state: AttemptState,
    *,
    cause: str | None = None,
    message: str = "",
) -> bool:
    """End an attempt once. False: it had ended before."""
    result = await session.execute(
        update(Attempt)
        .where(col(Attempt.id) == attempt.id, col(Attempt.state).in_([*LIVE]))
        .values(state=state.value, cause=cause, message=message[:500], ended_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
    return bool(getattr(result, "rowcount", 0) == 1)


async def attempts_of(session: AsyncSession, job_id: str) -> Sequence[Attempt]:
    """All attempts of a job, first to last."""
    return (
        await session.exec(select(Attempt).where(Attempt.job_id == job_id).order_by(col(Attempt.fence)))
    ).all()
