"""What the database says of a statement that failed is logged without the prompts and addresses that were in it."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from backend.db.engine import Database
from backend.db.models import User
from backend.ids import IdPrefix, new_id
from backend.log import configure_logging, get_logger

PROMPT = "a heron stands in the reeds"
EMAIL = "heron@reeds.example.org"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("web", stream=stream)
    yield stream
    root.handlers = before
    root.setLevel(level)
    structlog.reset_defaults()


async def _fail(db: Database, statement: str, value: object) -> None:
    try:
        async with db.transaction() as session:
            await session.execute(text(statement), {"value": value})
    except DBAPIError:
        get_logger("test").exception("request.failed")
    else:
        raise AssertionError("the database took it")


async def test_a_failed_statement_names_no_value(db: Database, lines: io.StringIO) -> None:
    async with db.transaction() as session:
        session.add(User(id=new_id(IdPrefix.USER), email=EMAIL))
    await _fail(db, "INSERT INTO users (id, email) VALUES ('user_x', :value)", EMAIL)
    await _fail(db, "INSERT INTO users (id, name) VALUES ('user_x', :value)", PROMPT)
    await _fail(db, "SELECT CAST(CAST(:value AS text) AS integer)", PROMPT)
    await _fail(db, "SELECT CAST(:value AS integer)", PROMPT)
    await _fail(db, "SELECT to_tsquery(:value), 1 / 0", PROMPT)
    await _fail(db, "SELECT CAST(:value AS text)", PROMPT + "\ud800")
    written = lines.getvalue()
    assert written.count("request.failed") == 6
    assert "UniqueViolation" in written
    assert "heron" not in written
