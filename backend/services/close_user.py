"""Close a person's way in, and open it again, by the operator at the command line."""

from sqlalchemy import func, text
from sqlmodel import select

from backend.db.models import AuditEntry
from backend.db.repositories import people
from backend.services.change_role import keep_an_admin
from backend.services.named_person import named_person
from backend.studio import Studio

_END_KEYS = text("UPDATE api_keys SET revoked_at = now() WHERE user_id = :user_id AND revoked_at IS NULL")


async def close_user(studio: Studio, *, email: str) -> None:
    """Sessions, links and keys of this person end; their clips stay, and jobs under way are finished.

    A key is refused within seconds, a browser at its next event. Raises `NotFound`, `Conflict` (the last admin).
    """
    async with studio.db.transaction() as session:
        user = await named_person(session, email)
        # The admins first, all in one order: two who close each other wait instead of locking each other out.
        await keep_an_admin(session, user)
        await session.refresh(user, with_for_update=True)
        if user.suspended_at is not None:
            return
        user.suspended_at = (await session.execute(select(func.now()))).scalar_one()
        user.session_epoch += 1
        await people.end_one_time_tokens(session, user.id)
        await session.execute(_END_KEYS, {"user_id": user.id})
        session.add(AuditEntry(action="user.closed", subject=user.id))
        account_id = await people.home_account(session, user.id)
    await studio.wakeups.account_changed(account_id)


async def reopen_user(studio: Studio, *, email: str) -> None:
    """They may sign in again; sessions and keys of before stay ended. Raises `NotFound`."""
    async with studio.db.transaction() as session:
        user = await named_person(session, email, for_update=True)
        if user.suspended_at is not None:
            user.suspended_at = None
            session.add(AuditEntry(action="user.reopened", subject=user.id))
