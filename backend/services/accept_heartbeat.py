"""What a worker says of itself, recorded: it is alive, its leases go on, its steps are done. Answers with wishes.

Everything here is state, not events: a heartbeat that is lost, doubled or late does no harm.
"""

from sqlalchemy import and_, case, func, or_, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import AttemptPhase, AttemptStatus, Heartbeat, Wish, Wishes
from backend.db.models import Attempt, Job, Worker
from backend.db.repositories import jobs
from backend.domain.attempt import LEASE, LIVE, AttemptState
from backend.domain.generation import JobEvent, JobState
from backend.services.return_job import return_job
from backend.studio import Studio

_LEASE_END = func.clock_timestamp() + text(f"interval '{LEASE.total_seconds()} seconds'")


async def accept_heartbeat(studio: Studio, heartbeat: Heartbeat) -> Wishes:
    """Record it, and say what is wanted of the worker now. Watchers are woken where something moved."""
    moved: set[tuple[str, str]] = set()
    async with studio.db.transaction() as session:
        drain = await _record_worker(session, heartbeat)
        moved |= await _lose_attempts_of_an_older_boot(session, heartbeat)
        for status in heartbeat.attempts:
            if (changed := await _record_status(session, heartbeat, status)) is not None:
                moved.add(changed)
        wishes = await wishes_for(
            session, heartbeat.worker_id, [s.attempt_id for s in heartbeat.attempts], drain=drain
        )
    for account_id, job_id in moved:
        await studio.wakeups.account_changed(account_id, job_id)
    return wishes


async def wishes_for(
    session: AsyncSession, worker_id: str, attempt_ids: list[str], *, drain: bool = False
) -> Wishes:
    """What is wanted of these attempts of a worker: go on while they are live, stop once they have ended.

    An attempt that has ended is acknowledged too, so that its report is sent no more.
    """
    rows = await session.execute(
        select(col(Attempt.id), col(Attempt.state)).where(
            col(Attempt.id).in_(attempt_ids), Attempt.worker_id == worker_id
        )
    )
    states = {ident: AttemptState(state) for ident, state in rows}
    ended = [ident for ident in attempt_ids if ident in states and states[ident] not in LIVE]
    return Wishes(
        worker_id=worker_id,
        attempts={ident: Wish.STOP if ident in ended else Wish.GO for ident in states},
        acknowledged=tuple(ended),
        drain=drain,
    )


async def _record_worker(session: AsyncSession, heartbeat: Heartbeat) -> bool:
    state = "draining" if heartbeat.draining else "live"
    values = {
        "boot_id": heartbeat.boot_id,
        "state": state,
        "version": heartbeat.version,
        "hardware_class": heartbeat.hardware.hardware_class,
        "device": heartbeat.hardware.device,
        "memory_gb": heartbeat.hardware.memory_gb,
        "recipes": list(heartbeat.recipes),
        "resident": list(heartbeat.resident),
        "loading": heartbeat.loading,
        "heartbeat_at": func.clock_timestamp(),
    }
    row = (
        await session.execute(
            insert(Worker)
            .values(id=heartbeat.worker_id, **values)
            .on_conflict_do_update(
                index_elements=["id"],
                set_={
                    **values,
                    # Quarantine is lifted by an operator or by the scheduler, not by the worker's own word.
                    "state": case((col(Worker.state) == "quarantined", "quarantined"), else_=state),
                },
            )
            .returning(col(Worker.drain_requested))
        )
    ).one()
    return bool(row[0])


async def _lose_attempts_of_an_older_boot(
    session: AsyncSession, heartbeat: Heartbeat
) -> set[tuple[str, str]]:
    """A worker that was started again knows nothing of what it ran before: those attempts are lost at once."""
    named = [status.attempt_id for status in heartbeat.attempts]
    lost = (
        await session.exec(
            select(Attempt).where(
                Attempt.worker_id == heartbeat.worker_id,
                col(Attempt.state).in_([*LIVE]),
                col(Attempt.boot_id).not_in(["", heartbeat.boot_id]),
                col(Attempt.id).not_in(named),
            )
        )
    ).all()
    moved: set[tuple[str, str]] = set()
    for attempt in lost:
        job = await return_job(
            session, attempt, AttemptState.LOST, cause="worker_gone", message="The worker was started again."
        )
        if job is not None:
            moved.add((job.account_id, job.id))
    return moved


async def _record_status(
    session: AsyncSession, heartbeat: Heartbeat, status: AttemptStatus
) -> tuple[str, str] | None:
    begun = status.phase is not AttemptPhase.RECEIVED
    # The job first, as everywhere, so that a heartbeat and a cancel never wait for each other.
    job = await session.get(Job, status.job_id, with_for_update=True)
    if job is None:
        return None
    if begun and job.state == JobState.ASSIGNED and job.fence == status.fence:
        await jobs.move(
            session,
            job,
            JobEvent.STARTED,
            started_at=func.coalesce(col(Job.started_at), func.clock_timestamp()),
        )
    kept = await session.execute(
        update(Attempt)
        .where(
            col(Attempt.id) == status.attempt_id,
            col(Attempt.fence) == status.fence,
            col(Attempt.worker_id) == heartbeat.worker_id,
            col(Attempt.state).in_([*LIVE]),
        )
        .values(
            state=AttemptState.RUNNING.value if begun else col(Attempt.state),
            boot_id=heartbeat.boot_id,
            seen_at=func.coalesce(col(Attempt.seen_at), func.clock_timestamp()),
            started_at=func.coalesce(col(Attempt.started_at), func.clock_timestamp())
            if begun
            else col(Attempt.started_at),
            lease_expires_at=_LEASE_END,
            steps_done=func.greatest(col(Attempt.steps_done), status.step),
            resumed_from_step=status.resumed_from_step,
        )
        .execution_options(synchronize_session=False)
    )
    if getattr(kept, "rowcount", 0) != 1 or not begun:
        return None
    prefix = f"jobs/{job.id}/{status.fence}/"
    values: dict[str, object] = {"phase": status.phase.value}
    newer = []
    if status.step > job.steps_done:
        values["steps_done"] = func.greatest(col(Job.steps_done), min(status.step, job.steps))
        newer.append(col(Job.steps_done) < status.step)
    if status.preview_version:
        values |= {"preview_key": prefix + "preview.webp", "preview_version": status.preview_version}
        newer.append(col(Job.preview_version) != status.preview_version)
    if status.checkpoint is not None and status.checkpoint.key.startswith(prefix + "checkpoint-"):
        values["checkpoint"] = status.checkpoint.model_dump(mode="json")
    newer.append(col(Job.phase) != status.phase.value)
    if "checkpoint" in values and (job.checkpoint or {}).get("sha256") != status.checkpoint.sha256:  # type: ignore[union-attr]  # set just above
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
    return (job.account_id, job.id) if getattr(changed, "rowcount", 0) else None
