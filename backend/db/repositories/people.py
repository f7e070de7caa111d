"""People and what lets them in. The use cases decide; this only finds and writes rows."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Row, func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import ALL_SCOPES, Principal, Role, Scope, Via
from backend.auth.tokens import hash_token, new_token
from backend.db.models import OneTimeToken, User
from backend.domain.clean_text import is_text

_BY_SESSION = text(
    """
    SELECT u.id AS user_id, u.email, u.role, a.id AS account_id, a.tier
    FROM sessions s
    JOIN users u ON u.id = s.user_id
    JOIN accounts a ON a.id = s.account_id
    JOIN memberships m ON m.account_id = a.id AND m.user_id = u.id
    WHERE s.token_hash = :hash AND s.revoked_at IS NULL AND s.expires_at > now()
      AND s.epoch = u.session_epoch AND u.suspended_at IS NULL
    """
)
_BY_KEY = text(
    """
    SELECT u.id AS user_id, u.email, u.role, a.id AS account_id, a.tier, k.id AS key_id, k.scopes,
           k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS stale
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    JOIN accounts a ON a.id = k.account_id
    JOIN memberships m ON m.account_id = a.id AND m.user_id = u.id
    WHERE k.key_hash = :hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
      AND u.suspended_at IS NULL
    """
)
_HOME = text(
    """
    SELECT m.account_id, a.tier FROM memberships m JOIN accounts a ON a.id = m.account_id
    WHERE m.user_id = :user_id
    ORDER BY a.kind = 'person' DESC, m.created_at, m.account_id LIMIT 1
    """
)


@dataclass(frozen=True, kw_only=True)
class TakenToken:
    """What a one-time token stood for."""

    user_id: str | None
    email: str | None
    payload: dict[str, object]


async def user_by_email(session: AsyncSession, email: str, *, for_update: bool = False) -> User | None:
    """The person with that address, however it is capitalised. Nobody has one that can't be written down."""
    if "\x00" in email or not is_text(email):
        return None
    query = select(User).where(func.lower(User.email) == email.lower())
    return (await session.exec(query.with_for_update() if for_update else query)).one_or_none()


async def principal_of_session(session: AsyncSession, token: str) -> Principal | None:
    """Who a session cookie belongs to, if it still holds."""
    row = (await session.execute(_BY_SESSION, {"hash": hash_token(token)})).one_or_none()
    return None if row is None else _principal(row)


async def principal_of_key(session: AsyncSession, key: str) -> tuple[Principal, bool] | None:
    """Who an API key belongs to, if it still holds, and whether its time of use is worth writing again."""
    row = (await session.execute(_BY_KEY, {"hash": hash_token(key)})).one_or_none()
    if row is None:
        return None
    known = {scope.value for scope in Scope}
    return (
        _principal(
            row,
            via=Via.API_KEY,
            scopes=frozenset(Scope(scope) for scope in row.scopes if scope in known),
            api_key_id=row.key_id,
        ),
        row.stale,
    )


async def home_account(session: AsyncSession, user_id: str) -> str:
    """The account a person lands in after signing in: their own."""
    return str((await session.execute(_HOME, {"user_id": user_id})).one().account_id)


async def touch_key(session: AsyncSession, key_id: str) -> None:
    """Note that a key was used."""
    await session.execute(
        text(
            "UPDATE api_keys SET last_used_at = now() WHERE id = (SELECT id FROM api_keys WHERE id = :id"
            " FOR NO KEY UPDATE SKIP LOCKED)"
        ),
        {"id": key_id},
    )


async def make_one_time_token(
    session: AsyncSession,
    *,
    purpose: str,
    ttl: timedelta,
    user_id: str | None = None,
    email: str | None = None,
    payload: dict[str, object] | None = None,
) -> str:
    """A token that works once, until `ttl` from now by the database's clock."""
    token = new_token()
    now = (await session.execute(select(func.now()))).scalar_one()
    session.add(
        OneTimeToken(
            token_hash=hash_token(token),
            purpose=purpose,
            user_id=user_id,
            email=email,
            payload=payload or {},
            expires_at=now + ttl,
        )
    )
    await session.flush()
    return token


async def find_one_time_token(session: AsyncSession, token: str, purpose: str) -> TakenToken | None:
    """What a token stands for, without using it up. None: unknown, used or ended."""
    row = (
        await session.execute(
            select(OneTimeToken.user_id, OneTimeToken.email, OneTimeToken.payload).where(
                col(OneTimeToken.token_hash) == hash_token(token),
                col(OneTimeToken.purpose) == purpose,
                col(OneTimeToken.used_at).is_(None),
                col(OneTimeToken.expires_at) > func.now(),
            )
        )
    ).one_or_none()
    return None if row is None else TakenToken(user_id=row[0], email=row[1], payload=row[2])


async def take_one_time_token(session: AsyncSession, token: str, purpose: str) -> TakenToken | None:
    """Use a token up, in the caller's transaction. None: unknown, used or ended."""
    row = (
        await session.execute(
            update(OneTimeToken)
            .where(
                col(OneTimeToken.token_hash) == hash_token(token),
                col(OneTimeToken.purpose) == purpose,
                col(OneTimeToken.used_at).is_(None),
                col(OneTimeToken.expires_at) > func.now(),
            )
            .values(used_at=func.now())
            .returning(col(OneTimeToken.user_id), col(OneTimeToken.email), col(OneTimeToken.payload))
            .execution_options(synchronize_session=False)
        )
    ).one_or_none()
    return None if row is None else TakenToken(user_id=row[0], email=row[1], payload=row[2])


async def end_one_time_tokens(session: AsyncSession, user_id: str, *, purpose: str | None = None) -> None:
    """All links that this person was sent and has not used end: of one purpose, or of all."""
    statement = update(OneTimeToken).where(
        col(OneTimeToken.user_id) == user_id, col(OneTimeToken.used_at).is_(None)
    )
    if purpose is not None:
        statement = statement.where(col(OneTimeToken.purpose) == purpose)
    await session.execute(statement.values(used_at=func.now()).execution_options(synchronize_session=False))


def _principal(
    row: Row[tuple[object, ...]],
    *,
    via: Via = Via.SESSION,
    scopes: frozenset[Scope] = ALL_SCOPES,
    api_key_id: str | None = None,
) -> Principal:
    return Principal(
        user_id=row.user_id,
        account_id=row.account_id,
        role=Role(row.role),
        tier=row.tier,
        scopes=scopes,
        via=via,
        api_key_id=api_key_id,
        email=row.email,
    )
