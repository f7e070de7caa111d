"""End a key."""

from sqlalchemy import func
from sqlmodel import select

from backend.auth.principal import Principal
from backend.db.models import ApiKey
from backend.domain.errors import NotFound
from backend.services.create_api_key import KeyView, view_of_key
from backend.studio import Studio


async def revoke_api_key(studio: Studio, principal: Principal, key_id: str) -> KeyView:
    """End a key of the asker's account; it stops working within seconds. Raises `NotAllowed`, `NotFound`."""
    principal.require_session()
    async with studio.db.transaction() as session:
        row = await session.get(ApiKey, key_id, with_for_update=True)
        if row is None or row.account_id != principal.account_id:
            raise NotFound(f"There is no key {key_id!r}.", param="key_id")
        if row.revoked_at is None:
            row.revoked_at = (await session.execute(select(func.now()))).scalar_one()
        return view_of_key(row)
