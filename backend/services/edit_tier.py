"""Change what a tier may do, in force at once: every process reads the rows."""

from collections.abc import Mapping

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.db.models import AuditEntry, TierRow
from backend.db.repositories.tiers import load_tiers, row_of, tier_of
from backend.domain.errors import InvalidField
from backend.domain.tiers import Tier, changed, check_floors
from backend.studio import Studio


async def edit_tier(
    studio: Studio, *, name: str, changes: Mapping[str, str], by: Principal | None = None
) -> Tier:
    """Save values as they were typed; gives the tier as it is now. `by` None: the operator, at the command line.

    A job keeps the tier it was sent in; its clip the retention of the day it was released. Raises `NotAllowed`,
    `InvalidField`.
    """
    if by is not None:
        by.require_admin()
    async with studio.db.transaction() as session:
        row = await _locked(session, name)
        before = tier_of(row)
        after = changed(before, changes)
        check_floors([after, *(t for t in (await load_tiers(session)).values() if t.name != name)])
        old, new = row_of(before), row_of(after)
        differing = {key: value for key, value in new.items() if value != old[key]}
        for key, value in differing.items():
            setattr(row, key, value)
        session.add(row)
        if differing:
            session.add(
                AuditEntry(
                    actor_id=by.user_id if by else None,
                    action="tier.changed",
                    subject=name,
                    detail={"before": {key: old[key] for key in differing}, "after": differing},
                )
            )
    return after


async def list_tiers(studio: Studio) -> list[Tier]:
    """The tiers in force, by weight."""
    async with studio.db.reading() as session:
        return sorted((await load_tiers(session)).values(), key=lambda tier: (tier.weight, tier.name))


async def _locked(session: AsyncSession, name: str) -> TierRow:
    row = await session.get(TierRow, name, with_for_update={"key_share": True})
    if row is None:
        known = ", ".join(await load_tiers(session))
        raise InvalidField(f"There is no tier {name!r}. Tiers: {known}.", param="tier")
    return row
