"""What a worker says of itself, recorded: it is alive, its leases go on, its steps are done. Answers with wishes.

Everything here is state, not events: a heartbeat that is lost, doubled or late does no harm. One transaction for the
worker and one for each job, so that nobody waits for two of them.
"""

from typing import Any

from sqlalchemy import and_, case, func, null, or_, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import AttemptPhase, AttemptStatus, Heartbeat, Wishes
from backend.db.models import Attempt, Job, Worker
from backend.db.repositories import jobs
from backend.domain.attempt import LEASE, LIVE, AttemptState, Cause
from backend.domain.generation import JobEvent, JobState
from backend.domain.object_keys import AttemptFile, attempt_file
from backend.domain.worker import WorkerState
from backend.services.build_order import own_checkpoint
from backend.services.return_job import return_job
from backend.services.worker_wishes import wishes_for
from backend.studio import Studio

_NOW = func.clock_timestamp()
_PHASES = {phase.value: number for number, phase in enumerate(AttemptPhase)}
_LEASE_END = func.clock_timestamp() + text(f"interval '{LEASE.total_seconds()} seconds'")


class WorkerRemoved(Exception):
    """The worker was sent away: nothing that it says counts."""


async def accept_heartbeat(studio: Studio, heartbeat: Heartbeat) -> Wishes:
    """Record it, and say what is wanted of the worker now. Watchers are woken where something moved.

    Raises `WorkerRemoved`. What it says of attempts that are not its own, or have ended, is passed over unread.
    """
    moved: set[tuple[str, str]] = set()
    async with studio.db.transaction() as session:
        drain = await _record_worker(session, heartbeat)
        forgotten = await _attempts_of_an_older_boot(session, heartbeat)
        live = await _live_attempts(session, heartbeat.worker_id)
    for attempt in forgotten:
        async with studio.db.transaction() as session:
            job = await return_job(
                session,
                attempt,
                AttemptState.LOST,
                cause=Cause.WORKER_LOST,
                message="The worker was started again.",
            )
        if job is not None:
            moved.add((job.account_id, job.id))
    # One of each, so that what is said twice is not recorded twice.
    own = {s.attempt_id: s for s in heartbeat.attempts if (s.attempt_id, s.job_id) in live}
    for status in own.values():
        async with studio.db.transaction() as session:
            if (changed := await _record_status(session, heartbeat, status)) is not None:
                moved.add(changed)
    wishes = Wishes(worker_id=heartbeat.worker_id, drain=drain)
    if heartbeat.attempts:
        async with studio.db.reading() as session:
            wishes = await wishes_for(
                session, heartbeat.worker_id, list({s.attempt_id for s in heartbeat.attempts}), drain=drain
            )
    for account_id, job_id in moved:
        await studio.wakeups.account_changed(account_id, job_id)
    return wishes


async def _record_worker(session: AsyncSession, heartbeat: Heartbeat) -> bool:
    values: dict[str, Any] = {
        "boot_id": heartbeat.boot_id,
        "state": (WorkerState.DRAINING if heartbeat.draining else WorkerState.LIVE).value,
        "version": heartbeat.version,
        "hardware_class": heartbeat.hardware.hardware_class,
        "device": heartbeat.hardware.device,
        "memory_gb": heartbeat.hardware.memory_gb,
        "recipes": list(heartbeat.recipes),
        "resident": list(heartbeat.resident),
        "loading": heartbeat.loading,
        "heartbeat_at": _NOW,
    }
    again = dict(values)
    if not heartbeat.draining:
        # Quarantine ends by a clip that was made, or by an operator; never by the worker's own word.
        again["state"] = case(
            (col(Worker.quarantined_until).is_not(None), WorkerState.QUARANTINED.value),
            else_=WorkerState.LIVE.value,
        )
    row = (
        await session.execute(
            insert(Worker)
            .values(id=heartbeat.worker_id, **values)
            .on_conflict_do_update(
                index_elements=["id"], set_=again, where=col(Worker.state) != WorkerState.REMOVED.value
            )
            .returning(col(Worker.drain_requested))
        )
    ).one_or_none()
    if row is None:
        raise WorkerRemoved(heartbeat.worker_id)
    return bool(row[0])


async def _live_attempts(session: AsyncSession, worker_id: str) -> set[tuple[str, str]]:
    """The worker's attempts, each with its job: what it says of others' jobs, or of thousands, locks none of them."""
    found = await session.exec(
        select(Attempt.id, Attempt.job_id).where(
            Attempt.worker_id == worker_id, col(Attempt.state).in_([*LIVE])
        )
    )
    return set(found)


async def _attempts_of_an_older_boot(session: AsyncSession, heartbeat: Heartbeat) -> list[Attempt]:
    """A worker that was started again knows nothing of what it ran before: those attempts are lost at once."""
    named = [status.attempt_id for status in heartbeat.attempts]
    found = await session.exec(
        select(Attempt).where(
            Attempt.worker_id == heartbeat.worker_id,
            col(Attempt.state).in_([*LIVE]),
            col(Attempt.boot_id).not_in(["", heartbeat.boot_id]),
            col(Attempt.id).not_in(named),
        )
    )
    return list(found)


async def _record_status(
    session: AsyncSession, heartbeat: Heartbeat, status: AttemptStatus
) -> tuple[str, str] | None:
    # The job first, as everywhere, so that a heartbeat and a cancel never wait for each other.
    job = await session.get(Job, status.job_id, with_for_update=True)
    if job is None or not await _renew(session, heartbeat, status, job.steps):
        return None
    if status.phase is AttemptPhase.RECEIVED or job.fence != status.fence:
        return None
    if job.state == JobState.ASSIGNED:
        started_at = func.coalesce(col(Job.started_at), _NOW)
        await jobs.move(session, job, JobEvent.STARTED, started_at=started_at)
    return (job.account_id, job.id) if await _show(session, job, status) else None


async def _renew(session: AsyncSession, heartbeat: Heartbeat, status: AttemptStatus, steps: int) -> bool:
    """The attempt's lease goes on, if it is this worker's, of this fence, and alive.

    Progress is a phase or a step further than any before, so that who goes to and fro stalls. A member of a batch that
    broke begins again: alone, so it is one of one from then on, and may do so once.
    """
    begun = status.phase is not AttemptPhase.RECEIVED
    step, phase = min(status.step, steps), _PHASES[status.phase.value]
    reached = case(_PHASES, value=col(Attempt.phase), else_=-1)
    again = and_(col(Attempt.batch_size) > 1, or_(col(Attempt.steps_done) > step, reached > phase))
    progressed = or_(
        again,
        reached < phase,
        col(Attempt.steps_done) < step,
        col(Attempt.progressed_at).is_(None),
    )
    starts = _NOW if begun else null()
    kept = await session.execute(
        update(Attempt)
        .where(
            col(Attempt.id) == status.attempt_id,
            col(Attempt.job_id) == status.job_id,
            col(Attempt.fence) == status.fence,
            col(Attempt.worker_id) == heartbeat.worker_id,
            col(Attempt.state).in_([*LIVE]),
        )
        .values(
            state=AttemptState.RUNNING.value if begun else col(Attempt.state),
            boot_id=heartbeat.boot_id,
            seen_at=func.coalesce(col(Attempt.seen_at), _NOW),
            started_at=case((again, starts), else_=func.coalesce(col(Attempt.started_at), starts)),
            lease_expires_at=_LEASE_END,
            phase=case((or_(again, reached < phase), status.phase.value), else_=col(Attempt.phase)),
            progressed_at=case((progressed, _NOW), else_=col(Attempt.progressed_at)),
            step_s=func.coalesce(status.step_s, col(Attempt.step_s)),
            steps_done=case((again, step), else_=func.greatest(col(Attempt.steps_done), step)),
            batch_size=case((again, 1), else_=col(Attempt.batch_size)),
            resumed_from_step=status.resumed_from_step,
        )
        .execution_options(synchronize_session=False)
    )
    return bool(getattr(kept, "rowcount", 0) == 1)


async def _show(session: AsyncSession, job: Job, status: AttemptStatus) -> bool:
    """What the owner sees of it: steps never fall, whichever attempt is at work. False: nothing new."""
    values: dict[str, object] = {"phase": status.phase.value}
    newer = [col(Job.phase) != status.phase.value]
    if status.step > job.steps_done:
        values["steps_done"] = func.greatest(col(Job.steps_done), min(status.step, job.steps))
        newer.append(col(Job.steps_done) < status.step)
    if status.preview_version:
        preview = attempt_file(job.id, status.fence, AttemptFile.PREVIEW)
        values |= {"preview_key": preview, "preview_version": status.preview_version}
        newer.append(col(Job.preview_version) != status.preview_version)
    kept = own_checkpoint(job, status.fence, status.checkpoint)
    if kept is not None:
        values["checkpoint"] = kept
        if (job.checkpoint or {}).get("sha256") != kept["sha256"]:
            newer.append(text("true"))  # type: ignore[arg-type]  # a literal condition
    changed = await session.execute(
        update(Job)
        .where(
            and_(
                col(Job.id) == job.id,
                col(Job.fence) == status.fence,
                col(Job.state) == JobState.RUNNING.value,
                or_(*newer),
            )
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(getattr(changed, "rowcount", 0))
