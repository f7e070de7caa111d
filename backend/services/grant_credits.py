"""Give an account credits: by an admin's hand, and each month what its tier gets."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.db.models import AuditEntry
from backend.db.repositories import ledger, people
from backend.domain.credits import GrantSource
from backend.domain.errors import InvalidField, NotFound
from backend.studio import Studio

MAX_GRANT = 1_000_000_000
MONTHLY_BATCH = 200

_FOUR_DAYS = timedelta(days=4)

_MY_TURN = text("SELECT pg_try_advisory_xact_lock(72407403)")
_WITHOUT_THIS_MONTH = text(
    """
    SELECT a.id, t.monthly_grant FROM accounts a JOIN tiers t ON t.name = a.tier
    WHERE t.monthly_grant > 0
      AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.external_ref = 'monthly:' || a.id || ':' || :month)
    ORDER BY a.id LIMIT :limit
    """
)


@dataclass(frozen=True, kw_only=True)
class Granted:
    """A grant, and what the account can spend now."""

    grant_id: str
    account_id: str
    available: int


async def grant_credits(
    studio: Studio,
    *,
    email: str,
    amount: int,
    source: GrantSource = GrantSource.ADMIN,
    expires_at: datetime | None = None,
    reason: str = "",
    by: Principal | None = None,
) -> Granted:
    """Give credits to a person's own account. `by` None: the operator, at the command line.

    Raises `NotAllowed`, `NotFound`, `InvalidField`.
    """
    if by is not None:
        by.require_admin()
    if not 1 <= amount <= MAX_GRANT:
        raise InvalidField(f"An amount is from 1 to {MAX_GRANT} credits.", param="amount")
    async with studio.db.transaction() as session:
        user = await people.user_by_email(session, email)
        if user is None:
            raise NotFound(f"There is nobody with the address {email}.", param="email")
        account_id = await people.home_account(session, user.id)
        grant = await ledger.add_grant(
            session,
            account_id=account_id,
            source=source,
            amount=amount,
            expires_at=expires_at,
            reason=reason,
            created_by=by.user_id if by else None,
        )
        session.add(
            AuditEntry(
                actor_id=by.user_id if by else None,
                action="credits.granted",
                subject=account_id,
                detail={"grant_id": grant.id, "amount": amount, "source": source.value, "reason": reason},
            )
        )
        await session.flush()
        available, _held = await ledger.balance(session, account_id)
    await studio.wakeups.account_changed(account_id)
    return Granted(grant_id=grant.id, account_id=account_id, available=available)


async def grant_month(session: AsyncSession, *, account_id: str, amount: int, now: datetime) -> None:
    """This month's credits of a tier, usable until the next month begins.

    The account must have none of them yet.
    """
    if amount <= 0:
        return
    month = now.strftime("%Y-%m")
    ends_at = (now.replace(day=28, hour=0, minute=0, second=0, microsecond=0) + _FOUR_DAYS).replace(day=1)
    await ledger.add_grant(
        session,
        account_id=account_id,
        source=GrantSource.MONTHLY,
        amount=amount,
        expires_at=ends_at,
        reason=f"for {month}",
        external_ref=f"monthly:{account_id}:{month}",
    )


async def grant_monthly_credits(studio: Studio, *, limit: int = MONTHLY_BATCH) -> int:
    """Give every account without one its grant of this month; returns how many.

    Safe to run at any time, twice too.
    """
    async with studio.db.transaction() as session:
        # One at a time: rows that another transaction is about to insert can't be seen here.
        if not (await session.execute(_MY_TURN)).scalar_one():
            return 0
        now = (await session.execute(select(text("now()")))).scalar_one()
        rows = (
            await session.execute(_WITHOUT_THIS_MONTH, {"month": now.strftime("%Y-%m"), "limit": limit})
        ).all()
        for account_id, amount in rows:
            await grant_month(session, account_id=account_id, amount=amount, now=now)
    return len(rows)
