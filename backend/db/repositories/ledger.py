"""Grants, and the end of holds. The beginning of a hold is in `db/sql/submit_generation_v1.sql`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Grant, Hold, HoldDraw, LedgerEntry
from backend.domain.credits import (
    RETURN_GRACE,
    Draw,
    Entry,
    GrantSource,
    HoldState,
    entries_for_end,
    entries_for_expiry,
    entries_for_grant,
    split,
)
from backend.ids import IdPrefix, new_id


async def add_grant(
    session: AsyncSession,
    *,
    account_id: str,
    source: GrantSource,
    amount: int,
    expires_at: datetime | None,
    reason: str = "",
    created_by: str | None = None,
    external_ref: str | None = None,
) -> Grant:
    """Give credits. `external_ref` makes a grant from outside happen once (unique)."""
    grant = Grant(
        id=new_id(IdPrefix.GRANT),
        account_id=account_id,
        source=source.value,
        amount=amount,
        remaining=amount,
        reason=reason,
        created_by=created_by,
        external_ref=external_ref,
        expires_at=expires_at,
    )
    session.add(grant)
    await session.flush()
    _write(session, account_id, entries_for_grant(grant.id, amount), reason=f"grant:{source.value}")
    return grant


async def end_hold(session: AsyncSession, job_id: str, *, charge: int, reason: str) -> bool:
    """Settle (`charge` > 0) or release the job's hold. False: it had ended before.

    What goes back to a grant that expired meanwhile stays usable for `RETURN_GRACE`.
    """
    ended = (
        await session.execute(
            update(Hold)
            .where(col(Hold.job_id) == job_id, col(Hold.state) == HoldState.OPEN.value)
            .values(
                state=(HoldState.SETTLED if charge else HoldState.RELEASED).value,
                charged=charge,
                ended_at=func.clock_timestamp(),
            )
            .returning(col(Hold.id), col(Hold.account_id))
            .execution_options(synchronize_session=False)
        )
    ).one_or_none()
    if ended is None:
        return False
    hold_id, account_id = ended
    rows = await session.exec(
        select(HoldDraw).where(HoldDraw.hold_id == hold_id).order_by(col(HoldDraw.position))
    )
    spent, back = split([Draw(grant_id=row.grant_id, amount=row.amount) for row in rows], charge)
    for part in sorted(back, key=lambda d: d.grant_id):
        await session.execute(
            text(
                "UPDATE grants SET remaining = remaining + :part, expires_at = CASE WHEN expires_at <= now()"
                " THEN now() + make_interval(secs => :grace_s) ELSE expires_at END WHERE id = :id"
            ),
            {"part": part.amount, "grace_s": RETURN_GRACE.total_seconds(), "id": part.grant_id},
        )
    _write(session, account_id, entries_for_end(spent, back), reason=reason, hold_id=hold_id)
    await session.flush()
    return True


async def expire_grants(session: AsyncSession, *, limit: int = 500) -> int:
    """Write off what is left of grants that ended; returns how many grants."""
    grants = (
        await session.exec(
            select(Grant)
            .where(Grant.remaining > 0, col(Grant.expires_at) <= func.now())
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    ).all()
    for grant in grants:
        _write(session, grant.account_id, entries_for_expiry(grant.id, grant.remaining), reason="expired")
        grant.remaining = 0
        session.add(grant)
    await session.flush()
    return len(grants)


async def balance(session: AsyncSession, account_id: str) -> tuple[int, int]:
    """(available, held) credits of an account, now."""
    row = (
        await session.execute(
            text(
                "SELECT (SELECT coalesce(sum(remaining), 0) FROM grants WHERE account_id = :account_id"
                " AND remaining > 0 AND (expires_at IS NULL OR expires_at > now())),"
                " (SELECT coalesce(sum(amount), 0) FROM holds WHERE account_id = :account_id AND state = 'open')"
            ),
            {"account_id": account_id},
        )
    ).one()
    return int(row[0]), int(row[1])


def _write(
    session: AsyncSession,
    account_id: str,
    entries: Sequence[Entry],
    *,
    reason: str,
    hold_id: str | None = None,
) -> None:
    transaction_id = new_id(IdPrefix.LEDGER_ENTRY)
    session.add_all(
        LedgerEntry(
            transaction_id=transaction_id,
            account_id=account_id,
            book=entry.book.value,
            amount=entry.amount,
            grant_id=entry.grant_id,
            hold_id=hold_id,
            reason=reason,
        )
        for entry in entries
    )
