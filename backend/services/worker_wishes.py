"""What is wanted of a worker now, as the database has it. Wishes are state: written whole, and safe to say again."""

from collections.abc import Sequence

from sqlalchemy import func, or_, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import Wish, Wishes
from backend.db.models import Attempt, Worker
from backend.domain.attempt import LEASE, LIVE, AttemptState

_LATELY = text(f"interval '{LEASE.total_seconds()} seconds'")


async def wishes_for(
    session: AsyncSession, worker_id: str, attempt_ids: Sequence[str], *, drain: bool
) -> Wishes:
    """What is wanted of these attempts: go on while they are live, stop once they have ended.

    An attempt that has ended is acknowledged too, so that its report is sent no more.
    """
    rows = await session.execute(
        select(
            col(Attempt.id), col(Attempt.state), col(Attempt.preempt_until) > func.clock_timestamp()
        ).where(col(Attempt.id).in_(attempt_ids), Attempt.worker_id == worker_id)
    )
    wanted: dict[str, Wish] = {}
    for ident, state, preempted in rows:
        if AttemptState(state) not in LIVE:
            wanted[ident] = Wish.STOP
        else:
            wanted[ident] = Wish.PREEMPT if preempted else Wish.GO
    ended = tuple(ident for ident in attempt_ids if wanted.get(ident) is Wish.STOP)
    return Wishes(worker_id=worker_id, attempts=wanted, acknowledged=ended, drain=drain)


async def wishes_of(session: AsyncSession, worker_id: str, *, also: Sequence[str] = ()) -> Wishes:
    """What is wanted of all that the worker runs, and of attempts that it may not know to have ended.

    Those are the ones that ended within a lease, and `also`: what was said of them and not yet read is said again.
    """
    live = await session.exec(
        select(Attempt.id).where(
            Attempt.worker_id == worker_id,
            or_(col(Attempt.state).in_([*LIVE]), col(Attempt.ended_at) > func.clock_timestamp() - _LATELY),
        )
    )
    drain = await session.scalar(select(Worker.drain_requested).where(Worker.id == worker_id))
    return await wishes_for(session, worker_id, list({*live, *also}), drain=bool(drain))
