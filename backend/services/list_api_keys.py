"""The keys of the asker's account, newest first, without their secrets."""

from sqlmodel import col, select

from backend.auth.principal import Principal
from backend.db.models import ApiKey
from backend.services.create_api_key import KeyView, view_of_key
from backend.studio import Studio

SHOWN = 200


async def list_api_keys(studio: Studio, principal: Principal) -> list[KeyView]:
    """Live, ended and revoked keys. Raises `NotAllowed` (by key)."""
    principal.require_session()
    async with studio.db.reading() as session:
        rows = await session.exec(
            select(ApiKey)
            .where(ApiKey.account_id == principal.account_id)
            .order_by(col(ApiKey.created_at).desc(), col(ApiKey.id).desc())
            .limit(SHOWN)
        )
        return [view_of_key(row) for row in rows]
