"""Migrations give exactly the tables that the models name, and may be run again."""

from alembic import command

from backend.db.migrate import alembic_config, upgrade


def test_migrations_equal_models(empty_pg_url: str) -> None:
    upgrade(empty_pg_url)
    command.check(alembic_config(empty_pg_url))


def test_migrating_again_changes_nothing(empty_pg_url: str) -> None:
    upgrade(empty_pg_url)
    upgrade(empty_pg_url)
    command.check(alembic_config(empty_pg_url))
