"""The tiers in force. The first rows come from `domain/tiers.py`; an admin may change them."""

from sqlmodel import SQLModel

from backend.db.models import columns as c


class TierRow(SQLModel, table=True):
    """One tier; the fields are those of `domain.tiers.Tier`, times in seconds."""

    __tablename__ = "tiers"

    name: str = c.id_column()
    weight: float
    floor: float
    ceiling_s: float
    concurrency_limit: int
    queue_limit: int
    daily_jobs: int
    monthly_grant: int
    rollover_months: int
    grants_per_network: int
    max_seconds: float
    max_pixels: int
    retention_s: float
    checkpoint_retention_s: float
    submits_per_minute: int
