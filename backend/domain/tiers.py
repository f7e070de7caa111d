"""What an account may do, as data. The database holds the rows in force; these are the first ones."""

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

DEFAULT_TIER = "free"
"""Where an account begins that nobody put elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Tier:
    """Weight is a share of GPU time against the other tiers; `floor` is the least share while it has work.

    `ceiling` bounds the wait of a job inside its account's share. `monthly_grant` credits come with each month and
    stay usable for `rollover_months` more. At most `grants_per_network` accounts that people made themselves get them
    in one network and month (0: any number). A waiting job's checkpoint is kept for `checkpoint_retention`.
    """

    name: str
    weight: float
    floor: float
    ceiling: timedelta
    concurrency_limit: int
    queue_limit: int
    daily_jobs: int
    monthly_grant: int
    rollover_months: int
    grants_per_network: int
    max_seconds: float
    max_pixels: int
    retention: timedelta
    checkpoint_retention: timedelta
    submits_per_minute: int


TIERS: MappingProxyType[str, Tier] = MappingProxyType(
    {
        tier.name: tier
        for tier in (
            Tier(
                name="free",
                weight=1,
                floor=0.05,
                ceiling=timedelta(hours=2),
                concurrency_limit=1,
                queue_limit=10,
                daily_jobs=50,
                monthly_grant=200,
                rollover_months=0,
                grants_per_network=5,
                max_seconds=5,
                max_pixels=854 * 480,
                retention=timedelta(days=30),
                checkpoint_retention=timedelta(days=1),
                submits_per_minute=20,
            ),
            Tier(
                name="plus",
                weight=2,
                floor=0.0,
                ceiling=timedelta(minutes=30),
                concurrency_limit=3,
                queue_limit=50,
                daily_jobs=500,
                monthly_grant=2_000,
                rollover_months=0,
                grants_per_network=0,
                max_seconds=10,
                max_pixels=1280 * 720,
                retention=timedelta(days=180),
                checkpoint_retention=timedelta(days=3),
                submits_per_minute=60,
            ),
            Tier(
                name="pro",
                weight=4,
                floor=0.0,
                ceiling=timedelta(minutes=10),
                concurrency_limit=10,
                queue_limit=200,
                daily_jobs=5_000,
                monthly_grant=10_000,
                rollover_months=0,
                grants_per_network=0,
                max_seconds=20,
                max_pixels=1920 * 1088,
                retention=timedelta(days=365),
                checkpoint_retention=timedelta(days=7),
                submits_per_minute=120,
            ),
            Tier(
                name="internal",
                weight=4,
                floor=0.0,
                ceiling=timedelta(minutes=10),
                concurrency_limit=50,
                queue_limit=10_000,
                daily_jobs=100_000,
                monthly_grant=100_000,
                rollover_months=0,
                grants_per_network=0,
                max_seconds=60,
                max_pixels=3840 * 2176,
                retention=timedelta(days=365),
                checkpoint_retention=timedelta(days=7),
                submits_per_minute=6_000,
            ),
        )
    }
)
