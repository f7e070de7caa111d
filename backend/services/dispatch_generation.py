"""Give queued jobs to a worker's free slot: new attempts with the next fence, under the leader's term.

Several share a slot where they may run in one pass; each has its own attempt, lease, fence and order. An order is sent
again until its worker names it, and later with fresh signed URLs while its attempt lives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import Order
from backend.db.models import Attempt, Job, Upload
from backend.db.repositories import jobs, leadership
from backend.domain.attempt import LEASE, LIVE, AttemptState, Slot
from backend.domain.generation import InputVerdict, JobEvent
from backend.domain.quarantine import Takes
from backend.domain.spec import GenerationSpec
from backend.ids import IdPrefix, new_id
from backend.log import get_logger
from backend.services.build_order import (
    RENEWED_AFTER,
    UnbuildableOrder,
    build_order,
    load_uploads,
    spec_of,
)
from backend.services.fail_unbuildable_job import fail_unbuildable_job
from backend.services.judge_worker import takes_now
from backend.storage import StorageUnavailable
from backend.studio import Studio

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Term:
    """The leader's claim: every dispatch is conditional on it."""

    name: str
    holder: str
    number: int


class NotLeading(Exception):
    """The term ended: someone else leads now."""


@dataclass(frozen=True, kw_only=True)
class _Given:
    """A job that is a worker's, and what its order is made of."""

    job: Job
    spec: GenerationSpec
    uploads: Mapping[str, Upload]


async def dispatch_generation(
    studio: Studio, term: Term, *, job_id: str, worker_id: str, slot: Slot
) -> Order | None:
    """Record the attempt and return its order, to be sent after the commit.

    None: the job was taken, cancelled or not yet screened, its rows make no order (then it failed), the slot is in
    use, the worker takes nothing now, or nothing can be signed (then it is sent later). Raises `NotLeading`.
    """
    orders = await dispatch_batch(studio, term, job_ids=[job_id], worker_id=worker_id, slot=slot)
    return orders[0] if orders else None


async def dispatch_batch(
    studio: Studio, term: Term, *, job_ids: Sequence[str], worker_id: str, slot: Slot
) -> list[Order]:
    """Record an attempt of each job, all in one slot; their orders, to be sent after the commit.

    Jobs that can't be given any more are left out, all of them where the slot or the worker can't take them. So are
    those whose order can't be signed now: they are the worker's, and `due_orders` sends them. Raises `NotLeading`.
    """
    unbuildable: list[tuple[str, str]] = []
    try:
        async with studio.db.transaction() as session:
            if not await leadership.holds_term(session, name=term.name, holder=term.holder, term=term.number):
                raise NotLeading
            if not await _may_take(session, worker_id, slot, len(job_ids)):
                return []
            given = []
            for job_id in job_ids:
                try:
                    found = await _give(session, job_id)
                except UnbuildableOrder as error:
                    unbuildable.append((job_id, str(error)))
                else:
                    given += [found] if found is not None else []
            attempts = await _record_attempts(session, given, worker_id, slot)
    except IntegrityError:
        return []
    for job_id, what in unbuildable:
        await fail_unbuildable_job(studio, job_id, what)
    for each in given:
        await studio.wakeups.account_changed(each.job.account_id, each.job.id)
    return await _build_each(studio, list(zip(given, attempts, strict=True)))


async def _build_each(studio: Studio, given: Sequence[tuple[_Given, Attempt]]) -> list[Order]:
    """The orders that can be built now; one that can't keeps no other back. A job whose rows make none fails."""
    orders = []
    for each, attempt in given:
        try:
            orders.append(await build_order(studio, each.job, attempt, each.spec, each.uploads))
        except UnbuildableOrder as error:
            await fail_unbuildable_job(studio, each.job.id, str(error))
        except StorageUnavailable as error:
            log.warning("order.waits", job_id=each.job.id, attempt=attempt.id, error=str(error))
    return orders


async def _give(session: AsyncSession, job_id: str) -> _Given | None:
    """Move the job to a worker. None: it may not be given. Raises `UnbuildableOrder` before anything is written."""
    job = await jobs.load(session, job_id)
    if job is None or job.input_verdict != InputVerdict.ALLOW:
        return None
    spec = spec_of(job)
    uploads = await load_uploads(session, spec)
    if not await jobs.move(session, job, JobEvent.DISPATCHED, fence=job.fence + 1, phase=""):
        return None
    return _Given(job=job, spec=spec, uploads=uploads)


async def _record_attempts(
    session: AsyncSession, given: Sequence[_Given], worker_id: str, slot: Slot
) -> list[Attempt]:
    lease_expires_at = (
        await session.execute(
            text("SELECT clock_timestamp() + make_interval(secs => :s)"), {"s": LEASE.total_seconds()}
        )
    ).scalar_one()
    names = [new_id(IdPrefix.ATTEMPT) for _each in given]
    attempts = [
        Attempt(
            id=name,
            job_id=each.job.id,
            number=each.job.fence,
            fence=each.job.fence,
            worker_id=worker_id,
            slot=slot.value,
            seat=seat,
            batch=names[0] if len(given) > 1 else None,
            batch_size=len(given),
            saves_memory=each.job.saves_memory,
            lease_expires_at=lease_expires_at,
        )
        for seat, (name, each) in enumerate(zip(names, given, strict=True))
    ]
    session.add_all(attempts)
    await session.flush()
    return attempts


async def _may_take(session: AsyncSession, worker_id: str, slot: Slot, count: int) -> bool:
    """Whether the worker may be given so many jobs in this slot. One that nobody has heard of yet may.

    The slot's index keeps two from one seat; that a slot is given only whole and free is asked here, under the term.
    """
    row = (
        await session.execute(
            text(
                "SELECT w.state, w.quarantined_until, clock_timestamp() AS now, live.busy, live.in_slot"
                " FROM (SELECT count(*) > 0 AS busy, count(*) FILTER (WHERE slot = :slot) > 0 AS in_slot"
                "       FROM attempts WHERE worker_id = :worker_id AND state IN ('ordered', 'running')) live"
                " LEFT JOIN workers w ON w.id = :worker_id"
            ),
            {"worker_id": worker_id, "slot": slot.value},
        )
    ).one()
    if row.in_slot:
        return False
    if row.state is None:
        return True
    match takes_now(row.state, row.quarantined_until, row.now):
        case Takes.ALL:
            return True
        case Takes.ONE:
            return slot is Slot.RUN and not row.busy and count == 1
        case Takes.NOTHING:
            return False


async def due_orders(studio: Studio, *, limit: int = 200) -> list[Order]:
    """Orders to be sent again: those that no heartbeat named within two seconds, and those whose URLs grow old.

    A job whose rows make no order fails; it doesn't keep the others from theirs. What can't be signed stays due.
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
    async with studio.db.reading() as session:
        rows = (
            await session.exec(
                select(Attempt, Job)
                .join(Job, col(Job.id) == col(Attempt.job_id))
                .where(col(Attempt.state).in_([*LIVE]), or_(unseen, ageing))
                .order_by(sent_at)
                .limit(limit)
            )
        ).all()
        for attempt, job in rows:
            try:
                spec = spec_of(job)
                uploads = await load_uploads(session, spec)
                found.append((_Given(job=job, spec=spec, uploads=uploads), attempt))
            except UnbuildableOrder as error:
                unbuildable.append((job.id, str(error)))
    for job_id, what in unbuildable:
        await fail_unbuildable_job(studio, job_id, what)
    orders = await _build_each(studio, found)
    if orders:
        async with studio.db.single() as session:
            await session.execute(
                update(Attempt)
                .where(col(Attempt.id).in_([order.attempt_id for order in orders]))
                .values(order_sent_at=func.clock_timestamp())
                .execution_options(synchronize_session=False)
            )
    return orders
