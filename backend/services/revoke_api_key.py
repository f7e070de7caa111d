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
    return await _revoke(studio, key_id, owner=principal.account_id)


async def revoke_any_api_key(studio: Studio, key_id: str) -> KeyView:
    """End anybody's key, for the operator at the command line. Raises `NotFound`."""
    return await _revoke(studio, key_id, owner=None)


async def _revoke(studio: Studio, key_id: str, *, owner: str | None) -> KeyView:
    async with studio.db.transaction() as session:
        row = await session.get(ApiKey, key_id, with_for_update=True)
        if row is None or (owner is not None and row.account_id != owner):
            raise NotFound(f"There is no key {key_id!r}.", param="key_id")
        if row.revoked_at is None:
            row.revoked_at = (await session.execute(select(func.now()))).scalar_one()
        return view_of_key(row)
