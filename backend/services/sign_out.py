"""End a session, or all of a person's."""

from sqlalchemy import func, update
from sqlmodel import col

from backend.auth.principal import Principal
from backend.auth.tokens import hash_token
from backend.db.models import SignInSession, User
from backend.db.repositories import people
from backend.studio import Studio


async def sign_out(studio: Studio, token: str) -> None:
    """End the session of this cookie; one that has ended is fine."""
    async with studio.db.transaction() as session:
        await session.execute(
            update(SignInSession)
            .where(
                col(SignInSession.token_hash) == hash_token(token), col(SignInSession.revoked_at).is_(None)
            )
            .values(revoked_at=func.now())
        )


async def sign_out_everywhere(studio: Studio, principal: Principal) -> None:
    """End every session of this person, this one too, and every link that they were sent."""
    principal.require_session()
    async with studio.db.transaction() as session:
        await session.execute(
            update(User)
            .where(col(User.id) == principal.user_id)
            .values(session_epoch=col(User.session_epoch) + 1)
            .execution_options(synchronize_session=False)
        )
        await people.end_one_time_tokens(session, principal.user_id)
    await studio.wakeups.account_changed(principal.account_id)
