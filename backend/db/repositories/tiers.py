"""The tiers in force, as the domain's values."""

from datetime import timedelta

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import TierRow
from backend.domain.tiers import Tier


def row_of(tier: Tier) -> dict[str, object]:
    """A tier as a row of `tiers`."""
    return {
        "name": tier.name,
        "weight": tier.weight,
        "floor": tier.floor,
        "ceiling_s": tier.ceiling.total_seconds(),
        "concurrency_limit": tier.concurrency_limit,
        "queue_limit": tier.queue_limit,
        "daily_jobs": tier.daily_jobs,
        "monthly_grant": tier.monthly_grant,
        "max_seconds": tier.max_seconds,
        "max_pixels": tier.max_pixels,
        "retention_s": tier.retention.total_seconds(),
        "submits_per_minute": tier.submits_per_minute,
    }


async def load_tiers(session: AsyncSession) -> dict[str, Tier]:
    """All tiers by name."""
    return {row.name: _tier(row) for row in (await session.exec(select(TierRow))).all()}


def _tier(row: TierRow) -> Tier:
    return Tier(
        name=row.name,
        weight=row.weight,
        floor=row.floor,
        ceiling=timedelta(seconds=row.ceiling_s),
        concurrency_limit=row.concurrency_limit,
        queue_limit=row.queue_limit,
        daily_jobs=row.daily_jobs,
        monthly_grant=row.monthly_grant,
        max_seconds=row.max_seconds,
        max_pixels=row.max_pixels,
        retention=timedelta(seconds=row.retention_s),
        submits_per_minute=row.submits_per_minute,
    )
