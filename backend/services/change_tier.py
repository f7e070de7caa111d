"""Put an account into another tier: by an operator's or admin's hand, or because a payment says so."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.db.models import Account, AuditEntry
from backend.db.repositories import ledger, people
from backend.db.repositories.tiers import load_tiers
from backend.domain.errors import InvalidField
from backend.services.named_person import named_person
from backend.services.renew_credits import vouch
from backend.studio import Studio


async def change_tier(
    studio: Studio, *, email: str, tier: str, pin: bool = True, by: Principal | None = None
) -> str:
    """Change the tier of a person's own account; gives the account's id. `by` None: the operator, at the command line.

    A pinned tier stays, whatever is bought or ends. A better tier adds the difference to this month's credits at
    once. Raises `NotAllowed`, `NotFound`, `InvalidField`.
    """
    if by is not None:
        by.require_admin()
    async with studio.db.transaction() as session:
        user = await named_person(session, email)
        account_id = await people.home_account(session, user.id)
        await put_into_tier(session, account_id, tier, pin=pin, actor_id=by.user_id if by else None)
    await studio.wakeups.account_changed(account_id)
    return account_id


async def put_into_tier(
    session: AsyncSession, account_id: str, tier: str, *, pin: bool, actor_id: str | None, cause: str = ""
) -> None:
    """The same in the caller's transaction, which stands for the account from now on. Raises `InvalidField`."""
    tiers = await load_tiers(session)
    if tier not in tiers:
        raise InvalidField(f"There is no tier {tier!r}. Tiers: {', '.join(tiers)}.", param="tier")
    await ledger.lock_account(session, account_id)
    account = await session.get_one(Account, account_id, populate_existing=True)
    before = account.tier
    await session.execute(
        text("UPDATE accounts SET tier = :tier, tier_pinned = :pin WHERE id = :id"),
        {"id": account_id, "tier": tier, "pin": pin},
    )
    session.add(
        AuditEntry(
            actor_id=actor_id,
            action="account.tier",
            subject=account_id,
            detail={"before": before, "after": tier, "pinned": pin, "cause": cause},
        )
    )
    await session.flush()
    await vouch(session, account_id)
