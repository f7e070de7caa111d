"""Make a key for a program. It is shown once; only its hash is kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import ALL_SCOPES, Principal, Scope
from backend.auth.tokens import hash_token, hint_of, new_api_key
from backend.db.models import ApiKey
from backend.db.repositories import people
from backend.domain.errors import InvalidField, QuotaExhausted
from backend.ids import IdPrefix, new_id
from backend.services.named_person import named_open_person
from backend.studio import Studio

MAX_KEYS = 100
MAX_NAME_CHARS = 80
MAX_LIFE = timedelta(days=3650)


@dataclass(frozen=True, kw_only=True)
class KeyView:
    """A key without its secret."""

    id: str
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class CreatedKey:
    """A new key: `secret` is never to be had again."""

    key: KeyView
    secret: str


async def create_api_key(
    studio: Studio,
    principal: Principal,
    *,
    name: str,
    scopes: Iterable[str] = ALL_SCOPES,
    expires_in: timedelta | None = None,
) -> CreatedKey:
    """A key of the asker's account. Raises `NotAllowed` (by key), `InvalidField`, `QuotaExhausted`."""
    principal.require_session()
    async with studio.db.transaction() as session:
        return await add_key(
            session,
            account_id=principal.account_id,
            user_id=principal.user_id,
            name=name,
            scopes=scopes,
            expires_in=expires_in,
        )


async def create_api_key_for(
    studio: Studio,
    *,
    email: str,
    name: str = "",
    scopes: Iterable[str] = ALL_SCOPES,
    expires_in: timedelta | None = None,
) -> str:
    """The secret of a key for somebody's own account, made at the command line. Raises `NotFound` too."""
    async with studio.db.transaction() as session:
        user = await named_open_person(session, email)
        created = await add_key(
            session,
            account_id=await people.home_account(session, user.id),
            user_id=user.id,
            name=name or "command line",
            scopes=scopes,
            expires_in=expires_in,
        )
    return created.secret


async def add_key(
    session: AsyncSession,
    *,
    account_id: str,
    user_id: str,
    name: str,
    scopes: Iterable[str] = ALL_SCOPES,
    expires_in: timedelta | None = None,
) -> CreatedKey:
    """The row of a new key, within the caller's transaction. Raises `InvalidField`, `QuotaExhausted`."""
    wanted = _check_scopes(scopes)
    label = name.strip()
    if not label or len(label) > MAX_NAME_CHARS:
        raise InvalidField(f"A key's name has 1 to {MAX_NAME_CHARS} characters.", param="name")
    if expires_in is not None and not timedelta(0) < expires_in <= MAX_LIFE:
        raise InvalidField(f"A key lives for 1 to {MAX_LIFE.days} days.", param="expires_in_days")
    live = select(func.count()).where(ApiKey.account_id == account_id, col(ApiKey.revoked_at).is_(None))
    if (await session.exec(live)).one() >= MAX_KEYS:
        raise QuotaExhausted(f"An account has {MAX_KEYS} keys at most. Revoke one that isn't used.")
    secret = new_api_key()
    now: datetime = (await session.execute(select(func.now()))).scalar_one()
    row = ApiKey(
        id=new_id(IdPrefix.API_KEY),
        account_id=account_id,
        user_id=user_id,
        name=label,
        key_hash=hash_token(secret),
        hint=hint_of(secret),
        scopes=wanted,
        created_at=now,
        expires_at=now + expires_in if expires_in else None,
    )
    session.add(row)
    await session.flush()
    return CreatedKey(key=view_of_key(row), secret=secret)


def view_of_key(row: ApiKey) -> KeyView:
    """A key's row as its owner sees it."""
    return KeyView(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def _check_scopes(scopes: Iterable[str]) -> list[str]:
    wanted = sorted(set(scopes))
    known = sorted(scope.value for scope in Scope)
    if not wanted or not set(wanted) <= set(known):
        raise InvalidField(f"A key has at least one scope of: {', '.join(known)}.", param="scopes")
    return [str(scope) for scope in wanted]
