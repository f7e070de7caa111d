"""The reaper: attempts whose lease ran out, and attempts that stand still, unless a report lies beside their clip.

The caller has been leader, with workers' messages arriving, for one whole lease (`jobs/reap.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import ColumnElement, func, or_, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from backend.contracts import MAX_REPORT_BYTES, AttemptPhase, Report
from backend.db.away import is_away
from backend.db.models import Attempt, Job
from backend.domain.attempt import LEASE, LIVE, AttemptState, Cause, Slot
from backend.domain.object_keys import (
    AttemptFile,
    attempt_file,
    attempt_prefix,
    kept_checkpoint,
    kept_prefix,
)
from backend.domain.patience import SHORTEST, patience
from backend.domain.worker import HEARD, WorkerState
from backend.log import get_logger
from backend.services.accept_report import accept_report
from backend.services.return_job import return_job
from backend.services.worker_pace import pace_of, stage_of
from backend.storage import ObjectNotFound, ObjectTooLarge, StorageError, StorageUnavailable
from backend.studio import Studio

log = get_logger(__name__)

_GONE = text(
    """
    UPDATE workers SET state = :gone, resident = '{}', loading = NULL WHERE id IN (
        SELECT id FROM workers WHERE state = ANY (:heard)
          AND heartbeat_at < clock_timestamp() - make_interval(secs => :lease_s)
        ORDER BY id FOR UPDATE SKIP LOCKED)
    """
)
_SILENT = col(Attempt.lease_expires_at) < func.clock_timestamp()


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """An attempt that is given up, and the condition under which it still is when its job is locked."""

    attempt: Attempt
    cause: Cause
    message: str
    still: ColumnElement[bool]


async def expire_leases(studio: Studio, *, limit: int = 100) -> int:
    """Return the jobs of attempts whose lease has ended; returns how many there were."""
    async with studio.db.transaction() as session:
        await session.execute(
            _GONE,
            {"lease_s": LEASE.total_seconds(), "heard": [*HEARD], "gone": WorkerState.GONE.value},
        )
        expired = (
            await session.exec(select(Attempt).where(col(Attempt.state).in_([*LIVE]), _SILENT).limit(limit))
        ).all()
    await _give_up(studio, [_silent(attempt) for attempt in expired])
    return len(expired)


async def expire_stalled(studio: Studio, *, limit: int = 100) -> int:
    """Return the jobs of attempts that are heard of and make no progress; returns how many there were.

    How long that is follows from the worker's own pace with this recipe. The worker hears that it is to stop by its
    next heartbeat, and ends itself if it can't.
    """
    quiet_s = func.extract("epoch", func.clock_timestamp() - _since())
    async with studio.db.reading() as session:
        rows = (
            await session.execute(
                select(Attempt, Job, quiet_s)
                .join(Job, col(Job.id) == col(Attempt.job_id))
                .where(
                    col(Attempt.state).in_([*LIVE]),
                    or_(
                        col(Attempt.slot) == Slot.RUN.value, col(Attempt.state) == AttemptState.RUNNING.value
                    ),
                    col(Attempt.seen_at).is_not(None),
                    quiet_s > SHORTEST.total_seconds(),
                )
                .limit(limit)
            )
        ).all()
        stalled = []
        for attempt, job, silent_s in rows:
            stage = stage_of(attempt)
            allowed = patience(stage, await pace_of(session, attempt, job))
            if timedelta(seconds=float(silent_s)) > allowed:
                stalled.append(_stalled(attempt, float(silent_s)))
    await _give_up(studio, stalled)
    return len(stalled)


def _since() -> ColumnElement[datetime]:
    """Since when nothing changed. What waited behind another attempt is at fault only from that one's end on.

    So it is for members of a batch that broke, who go on one by one, while one of them does.
    """
    other = Attempt.__table__.alias("other")  # type: ignore[attr-defined]  # SQLModel's table
    of_worker = other.c.worker_id == col(Attempt.worker_id)
    before = select(func.max(other.c.ended_at)).where(of_worker).scalar_subquery()
    beside = (
        select(func.max(other.c.progressed_at))
        .where(of_worker, other.c.state.in_([*LIVE]), other.c.batch == col(Attempt.batch))
        .scalar_subquery()
    )
    return cast(
        "ColumnElement[datetime]",
        func.greatest(func.coalesce(col(Attempt.progressed_at), col(Attempt.seen_at)), before, beside),
    )


def _silent(attempt: Attempt) -> _Lost:
    if attempt.seen_at is None:
        message, cause = "The worker never took the order.", Cause.NOT_TAKEN
    else:
        message, cause = "The worker fell silent.", Cause.LEASE_EXPIRED
    return _Lost(attempt=attempt, cause=cause, message=message, still=_SILENT)


def _stalled(attempt: Attempt, silent_s: float) -> _Lost:
    return _Lost(
        attempt=attempt,
        cause=Cause.STALLED,
        message=f"No progress for {silent_s:.0f} s at {attempt.phase or AttemptPhase.RECEIVED}.",
        still=col(Attempt.progressed_at).is_not_distinct_from(attempt.progressed_at),
    )


async def _give_up(studio: Studio, lost: Sequence[_Lost]) -> None:
    for each in lost:
        try:
            await _give_up_one(studio, each)
        except SQLAlchemyError as error:
            # One attempt that can't be given up keeps no other's job from going on.
            if is_away(error):
                raise
            log.exception("attempt.not_given_up", job_id=each.attempt.job_id, attempt=each.attempt.id)


async def _give_up_one(studio: Studio, lost: _Lost) -> None:
    attempt = lost.attempt
    report = await _report_beside_clip(studio, attempt)
    if report is not None:
        await _take(studio, report)
    if not await _still(studio, lost):
        return
    checkpoint = await _secure_checkpoint(studio, attempt)
    async with studio.db.transaction() as session:
        # The job's lock first: a heartbeat that is being recorded decides whether it is lost.
        await session.get(Job, attempt.job_id, with_for_update=True)
        fresh = (
            await session.exec(select(Attempt).where(Attempt.id == attempt.id, lost.still))
        ).one_or_none()
        if fresh is None:
            return
        job = await return_job(
            session,
            fresh,
            AttemptState.LOST,
            cause=lost.cause,
            message=lost.message,
            checkpoint=checkpoint,
        )
    if job is not None:
        log.warning(
            "attempt.lost",
            job_id=job.id,
            attempt=attempt.id,
            worker_id=attempt.worker_id,
            cause=lost.cause.value,
        )
        if checkpoint is not None:
            await _drop_older(studio, job.id, str(checkpoint["key"]))
        await studio.wakeups.account_changed(job.account_id, job.id)


async def _still(studio: Studio, lost: _Lost) -> bool:
    """Whether the attempt lives and is lost, as when it was found."""
    live = col(Attempt.state).in_([*LIVE])
    async with studio.db.reading() as session:
        query = select(Attempt.id).where(Attempt.id == lost.attempt.id, live, lost.still)
        return (await session.exec(query)).one_or_none() is not None


async def _take(studio: Studio, report: Report) -> None:
    """Take the report that lay beside the clip; one that can't be taken counts as none."""
    try:
        await accept_report(studio, report)
    except (SQLAlchemyError, StorageError) as error:
        if isinstance(error, StorageUnavailable) or is_away(error):
            raise
        log.warning("report.not_taken", job_id=report.job_id, error=type(error).__name__)


async def _report_beside_clip(studio: Studio, attempt: Attempt) -> Report | None:
    """What lies there and is of this attempt, job, fence and worker; the worker can write there what it likes."""
    key = attempt_file(attempt.job_id, attempt.fence, AttemptFile.REPORT)
    try:
        report = Report.model_validate_json(await studio.storage.get_bytes(key, limit_bytes=MAX_REPORT_BYTES))
    except (ObjectNotFound, ObjectTooLarge, ValueError):
        return None
    said = (report.attempt_id, report.job_id, report.fence, report.worker_id)
    is_its_own = said == (attempt.id, attempt.job_id, attempt.fence, attempt.worker_id)
    return report if is_its_own else None


async def _secure_checkpoint(studio: Studio, attempt: Attempt) -> dict[str, object] | None:
    """A copy of the attempt's checkpoint under a key that its worker, which may wake up, has no URL for.

    None: it made none, or the copy failed; then the job keeps what it has, and its next worker checks the hash.
    """
    async with studio.db.reading() as session:
        job = await session.get(Job, attempt.job_id)
    kept = job.checkpoint if job is not None else None
    if kept is None or not str(kept["key"]).startswith(attempt_prefix(attempt.job_id, attempt.fence)):
        return None
    secured = kept_checkpoint(attempt.job_id, attempt.fence, int(str(kept["step"])))
    try:
        await studio.storage.copy(str(kept["key"]), secured)
    except StorageError as error:
        log.warning("checkpoint.not_secured", job_id=attempt.job_id, error=type(error).__name__)
        return None
    return {**kept, "key": secured}


async def _drop_older(studio: Studio, job_id: str, newest: str) -> None:
    """Copies of older checkpoints; what can't be deleted now is swept when the job ends."""
    try:
        async for info in studio.storage.list_objects(kept_prefix(job_id)):
            if info.key != newest:
                await studio.storage.delete(info.key)
    except StorageError as error:
        log.warning("checkpoint.not_dropped", job_id=job_id, error=type(error).__name__)
