"""Give a queued job to a worker's free slot: a new attempt with the next fence, under the leader's term."""

from dataclasses import dataclass

from sqlalchemy import func, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import Order
from backend.db.models import Attempt, Job
from backend.db.repositories import jobs, leadership
from backend.domain.attempt import LEASE, Slot
from backend.domain.generation import JobEvent
from backend.domain.quarantine import Takes
from backend.ids import IdPrefix, new_id
from backend.services.build_order import build_order, load_uploads
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

    None: the job was taken, cancelled or not yet screened, the slot is in use, or the worker takes nothing now.
    Raises `NotLeading`.
    """
    try:
        async with studio.db.transaction() as session:
            if not await leadership.holds_term(session, name=term.name, holder=term.holder, term=term.number):
                raise NotLeading
            job = await jobs.load(session, job_id)
            if job is None or job.input_verdict != "allow" or not await _may_take(session, worker_id, slot):
                return None
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
            uploads = await load_uploads(session, job)
    except IntegrityError:
        return None
    await studio.wakeups.account_changed(job.account_id, job_id)
    return await build_order(studio, job, attempt, uploads)


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


async def unseen_orders(studio: Studio) -> list[Order]:
    """Orders that no heartbeat has named yet, though they were sent two seconds ago: to be sent again."""
    async with studio.db.transaction() as session:
        rows = (
            await session.exec(
                select(Attempt, Job)
                .join(Job, col(Job.id) == col(Attempt.job_id))
                .where(
                    Attempt.state == "ordered",
                    col(Attempt.seen_at).is_(None),
                    func.coalesce(col(Attempt.order_sent_at), col(Attempt.ordered_at))
                    < func.clock_timestamp() - text("interval '2 seconds'"),
                )
                .limit(200)
            )
        ).all()
        found = []
        for attempt, job in rows:
            attempt.order_sent_at = func.clock_timestamp()  # type: ignore[assignment]  # an SQL expression
            session.add(attempt)
            found.append((job, attempt, await load_uploads(session, job)))
    return [await build_order(studio, job, attempt, uploads) for job, attempt, uploads in found]
