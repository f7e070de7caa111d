"""Bring a database to this version's schema: alembic's revisions, then the stored functions, which are repeatable."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import create_async_engine

from backend.db.at_this_version import version_mark
from backend.db.engine import asyncpg_url
from backend.db.models import TierRow
from backend.db.repositories.tiers import row_of
from backend.domain.tiers import TIERS

HERE = Path(__file__).parent


def alembic_config(url: str) -> Config:
    """Alembic's configuration without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations"))
    config.attributes["url"] = asyncpg_url(url)
    return config


def upgrade(url: str) -> None:
    """Migrate to the newest revision and put the functions of `db/sql` and the first tiers in place.

    Safe to call at every start, and by several processes at once: an advisory lock lets one through at a time.
    """
    command.upgrade(alembic_config(url), "head")
    asyncio.run(_repeatable(url))


async def _repeatable(url: str) -> None:
    engine = create_async_engine(asyncpg_url(url))
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(72407401)"))
            for path in sorted((HERE / "sql").glob("*.sql")):
                raw = await connection.get_raw_connection()
                driver = raw.driver_connection
                assert driver is not None
                await driver.execute(path.read_text(encoding="utf-8"))
            first_tiers = pg_insert(TierRow).values([row_of(tier) for tier in TIERS.values()])
            await connection.execute(first_tiers.on_conflict_do_nothing(index_elements=["name"]))
            await connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{version_mark()}'"))
    finally:
        await engine.dispose()
