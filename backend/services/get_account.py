"""What an account page shows of the asker, beside keys and ledger."""

from dataclasses import dataclass

from backend.auth.principal import Principal
from backend.db.models import User
from backend.db.repositories import ledger
from backend.domain.errors import NotSignedIn
from backend.services.renew_credits import renew_credits
from backend.studio import Studio


@dataclass(frozen=True, kw_only=True)
class AccountView:
    """The asker's person and account."""

    account_id: str
    email: str
    tier: str
    role: str
    available: int
    held: int
    has_password: bool
    may_moderate: bool
    may_administer: bool


async def get_account(studio: Studio, principal: Principal) -> AccountView:
    """The account now, with what this month gives and took. Raises `NotSignedIn` when the person is gone."""
    async with studio.db.reading() as session:
        user = await session.get(User, principal.user_id)
        if user is None:
            raise NotSignedIn
        found = await ledger.standing(session, principal.account_id)
    if found.due:
        await renew_credits(studio, principal.account_id)
        async with studio.db.reading() as session:
            found = await ledger.standing(session, principal.account_id)
    return AccountView(
        account_id=principal.account_id,
        email=user.email,
        tier=principal.tier,
        role=principal.role.value,
        available=found.available,
        held=found.held,
        has_password=user.password_hash is not None,
        may_moderate=principal.may_moderate,
        may_administer=principal.may_administer,
    )
