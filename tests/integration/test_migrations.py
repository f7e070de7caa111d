"""Migrations give exactly the tables that the models name, and may be run again; a start asks whether they are due."""

import asyncio
from pathlib import Path

import asyncpg
from alembic import command

from backend.auth.principal import Role
from backend.db.at_this_version import needs_nothing
from backend.db.migrate import alembic_config, upgrade
from backend.services.create_user import create_user
from backend.settings import Settings
from backend.studio import open_studio


def test_migrations_equal_models(empty_pg_url: str) -> None:
    upgrade(empty_pg_url)
    command.check(alembic_config(empty_pg_url))


def test_migrating_again_changes_nothing(empty_pg_url: str) -> None:
    upgrade(empty_pg_url)
    upgrade(empty_pg_url)
    command.check(alembic_config(empty_pg_url))


def test_a_start_leaves_a_database_of_this_version_alone_once_an_admin_came_in(
    empty_pg_url: str, valkey_url: str, tmp_path: Path
) -> None:
    assert not needs_nothing(empty_pg_url)
    upgrade(empty_pg_url)
    assert not needs_nothing(empty_pg_url), "nobody can sign in yet"

    async def make_admin() -> None:
        studio = open_studio(
            Settings(data_dir=tmp_path, database_url=empty_pg_url, redis_url=valkey_url), pool_size=1
        )
        await create_user(
            studio,
            email="ada@example.org",
            password="long enough for anybody",
            tier="internal",
            role=Role.ADMIN,
        )
        await studio.close()

    asyncio.run(make_admin())
    assert needs_nothing(empty_pg_url)

    async def restore_an_older_dump() -> None:
        connection = await asyncpg.connect(empty_pg_url)
        await connection.execute("COMMENT ON TABLE alembic_version IS 'zoetrope 0123'")
        await connection.close()

    asyncio.run(restore_an_older_dump())
    assert not needs_nothing(empty_pg_url)
    upgrade(empty_pg_url)
    assert needs_nothing(empty_pg_url)


def test_a_database_that_is_away_is_not_called_migrated() -> None:
    assert not needs_nothing("postgresql://127.0.0.1:1/none")
