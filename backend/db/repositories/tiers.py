"""The tiers in force, as the domain's values."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import TierRow
from backend.domain.tiers import Tier

_IN_SECONDS = frozenset(f.name for f in fields(Tier) if f.type in (timedelta, "timedelta"))


def row_of(tier: Tier) -> dict[str, object]:
    """A tier as a row of `tiers`: durations in seconds, under names that end in `_s`."""
    row: dict[str, object] = {}
    for field in fields(Tier):
        value = getattr(tier, field.name)
        if isinstance(value, timedelta):
            row[f"{field.name}_s"] = value.total_seconds()
        else:
            row[field.name] = value
    return row


async def load_tiers(session: AsyncSession) -> dict[str, Tier]:
    """All tiers by name."""
    return {row.name: tier_of(row) for row in (await session.exec(select(TierRow))).all()}


def tier_of(row: TierRow) -> Tier:
    """A row of `tiers` as a tier."""
    values: dict[str, Any] = {
        field.name: timedelta(seconds=getattr(row, f"{field.name}_s"))
        if field.name in _IN_SECONDS
        else getattr(row, field.name)
        for field in fields(Tier)
    }
    return Tier(**values)
