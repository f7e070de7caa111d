"""A signed-in browser begins: one row, one cookie."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.tokens import hash_token, new_token
from backend.db.models import SignInSession, User
from backend.db.repositories import people

SESSION_LIFE = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """What a browser is given: the session's token, and when it ends."""

    token: str
    expires_at: datetime
    user_id: str
    account_id: str


async def open_session(session: AsyncSession, user: User, *, user_agent: str = "") -> SignedIn:
    """Open a session for a person who has proved who they are, within the caller's transaction."""
    token = new_token()
    account_id = await people.home_account(session, user.id)
    expires_at = (await session.execute(select(func.now()))).scalar_one() + SESSION_LIFE
    session.add(
        SignInSession(
            token_hash=hash_token(token),
            user_id=user.id,
            account_id=account_id,
            epoch=user.session_epoch,
            user_agent=user_agent[:300],
            expires_at=expires_at,
        )
    )
    await session.flush()
    return SignedIn(token=token, expires_at=expires_at, user_id=user.id, account_id=account_id)
