"""The keys of an account, newest first, without their secrets."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.db.models import ApiKey
from backend.db.repositories import people
from backend.services.create_api_key import KeyView, view_of_key
from backend.services.named_person import named_person
from backend.studio import Studio

SHOWN = 200


async def list_api_keys(studio: Studio, principal: Principal) -> list[KeyView]:
    """Live, ended and revoked keys. Raises `NotAllowed` (by key)."""
    principal.require_session()
    async with studio.db.reading() as session:
        return await _keys(session, principal.account_id)


async def list_api_keys_of(studio: Studio, *, email: str) -> list[KeyView]:
    """The keys of somebody's own account, for the operator at the command line. Raises `NotFound`."""
    async with studio.db.reading() as session:
        user = await named_person(session, email)
        return await _keys(session, await people.home_account(session, user.id))


async def _keys(session: AsyncSession, account_id: str) -> list[KeyView]:
    rows = await session.exec(
        select(ApiKey)
        .where(ApiKey.account_id == account_id)
        .order_by(col(ApiKey.created_at).desc(), col(ApiKey.id).desc())
        .limit(SHOWN)
    )
    return [view_of_key(row) for row in rows]
