"""Give a queued job to a worker's free slot: a new attempt with the next fence, under the leader's term.

An order is sent again until its worker names it, and later with fresh signed URLs while its attempt lives.
"""

from dataclasses import dataclass

from sqlalchemy import and_, func, or_, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import Order
from backend.db.models import Attempt, Job
from backend.db.repositories import jobs, leadership
from backend.domain.attempt import LEASE, LIVE, AttemptState, Slot
from backend.domain.generation import JobEvent
from backend.domain.quarantine import Takes
from backend.ids import IdPrefix, new_id
from backend.services.build_order import (
    RENEWED_AFTER,
    UnbuildableOrder,
    build_order,
    load_uploads,
    spec_of,
)
from backend.services.fail_unbuildable_job import fail_unbuildable_job
from backend.services.judge_worker import takes_now
from backend.studio import Studio


@dataclass(frozen=True, kw_only=True)
class Term:
    """The leader's claim: every dispatch is conditional on it."""

    name: str
    holder: str
    number: int


class NotLeading(Exception):
    """The term ended: someone else leads now."""


async def dispatch_generation(
    studio: Studio, term: Term, *, job_id: str, worker_id: str, slot: Slot
) -> Order | None:
    """Record the attempt and return its order, to be sent after the commit.

    None: the job was taken, cancelled or not yet screened, its rows make no order (then it failed), the slot is in
    use, or the worker takes nothing now. Raises `NotLeading`.
    """
    try:
        async with studio.db.transaction() as session:
            if not await leadership.holds_term(session, name=term.name, holder=term.holder, term=term.number):
                raise NotLeading
            job = await jobs.load(session, job_id)
            if job is None or job.input_verdict != "allow" or not await _may_take(session, worker_id, slot):
                return None
            spec = spec_of(job)
            uploads = await load_uploads(session, spec)
            fence = job.fence + 1
            if not await jobs.move(session, job, JobEvent.DISPATCHED, fence=fence, phase=""):
                return None
            attempt = Attempt(
                id=new_id(IdPrefix.ATTEMPT),
                job_id=job_id,
                number=fence,
                fence=fence,
                worker_id=worker_id,
                slot=slot.value,
                saves_memory=job.saves_memory,
                lease_expires_at=(
                    await session.execute(
                        text("SELECT clock_timestamp() + make_interval(secs => :s)"),
                        {"s": LEASE.total_seconds()},
                    )
                ).scalar_one(),
            )
            session.add(attempt)
            await session.flush()
    except IntegrityError:
        return None
    except UnbuildableOrder as error:
        await fail_unbuildable_job(studio, job_id, str(error))
        return None
    await studio.wakeups.account_changed(job.account_id, job_id)
    return await build_order(studio, job, attempt, spec, uploads)


async def _may_take(session: AsyncSession, worker_id: str, slot: Slot) -> bool:
    """Whether the worker may be given a job in this slot. One that nobody has heard of yet may."""
    row = (
        await session.execute(
            text(
                "SELECT state, quarantined_until, clock_timestamp() AS now, EXISTS (SELECT 1 FROM attempts"
                " WHERE worker_id = :worker_id AND state IN ('ordered', 'running')) AS busy"
                " FROM workers WHERE id = :worker_id"
            ),
            {"worker_id": worker_id},
        )
    ).one_or_none()
    if row is None:
        return True
    match takes_now(row.state, row.quarantined_until, row.now):
        case Takes.ALL:
            return True
        case Takes.ONE:
            return slot is Slot.RUN and not row.busy
        case Takes.NOTHING:
            return False


async def due_orders(studio: Studio, *, limit: int = 200) -> list[Order]:
    """Orders to be sent again: those that no heartbeat named within two seconds, and those whose URLs grow old.

    A job whose rows make no order fails; it doesn't keep the others from theirs.
    """
    sent_at = func.coalesce(col(Attempt.order_sent_at), col(Attempt.ordered_at))
    unseen = and_(
        col(Attempt.state) == AttemptState.ORDERED.value,
        col(Attempt.seen_at).is_(None),
        sent_at < func.clock_timestamp() - text("interval '2 seconds'"),
    )
    ageing = sent_at < func.clock_timestamp() - text(f"interval '{RENEWED_AFTER.total_seconds()} seconds'")
    found = []
    unbuildable = []
    async with studio.db.transaction() as session:
        rows = (
            await session.exec(
                select(Attempt, Job)
                .join(Job, col(Job.id) == col(Attempt.job_id))
                .where(col(Attempt.state).in_([*LIVE]), or_(unseen, ageing))
                .order_by(sent_at)
                .limit(limit)
            )
        ).all()
        if not rows:
            return []
        for attempt, job in rows:
            try:
                spec = spec_of(job)
                found.append((job, attempt, spec, await load_uploads(session, spec)))
            except UnbuildableOrder as error:
                unbuildable.append((job.id, str(error)))
        await session.execute(
            update(Attempt)
            .where(col(Attempt.id).in_([attempt.id for _job, attempt, *_rest in found]))
            .values(order_sent_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
    for job_id, what in unbuildable:
        await fail_unbuildable_job(studio, job_id, what)
    return [await build_order(studio, *each) for each in found]
