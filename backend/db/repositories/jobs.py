"""Loading jobs, and the one way in which a job's state is saved."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import metrics
from backend.db import outbox
from backend.db.engine import after_commit
from backend.db.models import Attempt, Job
from backend.domain.attempt import LIVE, AttemptState
from backend.domain.events import SWEEP_DELAY_S, Consumer, OutboxEvent
from backend.domain.generation import ENDS, IllegalTransition, JobEvent, JobState, Snapshot, advance

Value = object


async def load(session: AsyncSession, job_id: str) -> Job | None:
    """The job, or None."""
    return await session.get(Job, job_id)


async def move(session: AsyncSession, job: Job, event: JobEvent, **values: Value) -> bool:
    """Save the state after `event` and `values`, if the job is still as it was read. An end has its objects swept.

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
    if after.state in ENDS:
        swept = OutboxEvent(consumer=Consumer.SWEEP, subject=job.id, delay_s=SWEEP_DELAY_S)
        await outbox.put(session, [swept], trace_id=job.trace_id)
    had_started = job.started_at is not None
    await session.refresh(job)
    after_commit(session, lambda: _count_move(job, after.state, first_start=not had_started))
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
    ended = (
        await session.execute(
            update(Attempt)
            .where(col(Attempt.id) == attempt.id, col(Attempt.state).in_([*LIVE]))
            .values(state=state.value, cause=cause, message=message[:500], ended_at=func.clock_timestamp())
            .returning(
                col(Attempt.started_at), col(Attempt.ended_at), col(Attempt.timings), col(Attempt.batch_size)
            )
            .execution_options(synchronize_session=False)
        )
    ).one_or_none()
    if ended is None:
        return False
    job = await session.get(Job, attempt.job_id)
    model = job.recipe if job is not None else ""
    started_at, ended_at, timings, together = ended
    ran_s = (ended_at - started_at).total_seconds() / together if started_at is not None else 0.0
    after_commit(session, lambda: _count_attempt(model, state, ran_s, timings or {}))
    return True


async def refuse_attempt(session: AsyncSession, attempt: Attempt, *, cause: str, message: str) -> bool:
    """Fail an attempt whose clip turned out to be none. It has ended now, not when it said so. False: not done."""
    refused = await session.execute(
        update(Attempt)
        .where(col(Attempt.id) == attempt.id, col(Attempt.state) == AttemptState.DONE.value)
        .values(
            state=AttemptState.FAILED.value,
            cause=cause,
            message=message[:500],
            ended_at=func.clock_timestamp(),
        )
        .execution_options(synchronize_session=False)
    )
    return bool(getattr(refused, "rowcount", 0) == 1)


async def attempts_of(session: AsyncSession, job_id: str) -> Sequence[Attempt]:
    """All attempts of a job, first to last."""
    return (
        await session.exec(select(Attempt).where(Attempt.job_id == job_id).order_by(col(Attempt.fence)))
    ).all()


def _count_move(job: Job, state: JobState, *, first_start: bool) -> None:
    metrics.job_transitions.labels(state.value, job.recipe, job.tier).inc()
    if first_start and job.started_at is not None:
        metrics.queue_wait.labels(job.tier, job.recipe).observe(_seconds(job.created_at, job.started_at))
    if state is JobState.COMPLETED and job.ended_at is not None:
        metrics.job_duration.labels(job.tier, job.recipe).observe(_seconds(job.created_at, job.ended_at))


_USE = {
    AttemptState.HANDED_BACK: "returned",
    AttemptState.PREEMPTED: "returned",
    AttemptState.CANCELLED: "cancelled",
}


def _count_attempt(model: str, state: AttemptState, ran_s: float, timings: Mapping[str, object]) -> None:
    """Where the worker gave no timings, as one that died, all of its time counts by how it ended."""
    metrics.attempts.labels(model, state.value).inc()
    stages = {
        name: float(str(timings.get(name) or 0)) for name in ("load_s", "text_s", "denoise_s", "decode_s")
    }
    load_s = stages.pop("load_s")
    metrics.gpu_time.labels(model, "model_switch").inc(load_s)
    if state is AttemptState.DONE:
        metrics.gpu_time.labels(model, "useful").inc(sum(stages.values()))
    else:
        metrics.gpu_time.labels(model, _USE.get(state, "lost")).inc(max(0.0, ran_s - load_s))


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())
