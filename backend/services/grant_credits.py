"""Give an account credits, by an admin's hand."""

from dataclasses import dataclass
from datetime import datetime

from backend.auth.principal import Principal
from backend.db.models import AuditEntry
from backend.db.repositories import ledger, people
from backend.domain.credits import GrantSource
from backend.domain.errors import InvalidField
from backend.services.named_person import named_person
from backend.studio import Studio

MAX_GRANT = 1_000_000_000


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
        user = await named_person(session, email)
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
