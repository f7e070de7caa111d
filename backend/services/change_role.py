"""Make somebody a creator, a moderator or an admin, by the operator at the command line."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Role
from backend.db.models import AuditEntry, User
from backend.db.repositories import people
from backend.domain.errors import Conflict
from backend.services.named_person import named_person
from backend.studio import Studio

# All of them are locked, so that two admins who end each other at once leave one.
_ADMINS = text(
    "SELECT id FROM users WHERE role = 'admin' AND suspended_at IS NULL ORDER BY id FOR NO KEY UPDATE"
)


async def change_role(studio: Studio, *, email: str, role: Role) -> None:
    """In force at the next request or event; an API key notices within seconds.

    Raises `NotFound`, `Conflict` (the last admin).
    """
    async with studio.db.transaction() as session:
        user = await named_person(session, email)
        if role is not Role.ADMIN:
            await keep_an_admin(session, user)
        await session.refresh(user, with_for_update=True)
        session.add(
            AuditEntry(action="user.role", subject=user.id, detail={"before": user.role, "after": role.value})
        )
        user.role = role.value
        account_id = await people.home_account(session, user.id)
    await studio.wakeups.account_changed(account_id)


async def keep_an_admin(session: AsyncSession, user: User) -> None:
    """Raises `Conflict` if this person is the only admin who can come in. Others wait until the caller is done."""
    admins = set((await session.execute(_ADMINS)).scalars())
    if admins == {user.id}:
        raise Conflict(
            f"{user.email} is the only admin. Make another one first: `zoetrope users role --role admin`.",
            param="email",
        )
