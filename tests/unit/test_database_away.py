"""A database that starts, stops or was cut off is away: a defect of ours is not."""

import errno

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from backend.api.errors import unexpected_response
from backend.db.away import is_away


def said_by_postgres(kind: type[DBAPIError], state: str | None, cause: Exception | None = None) -> DBAPIError:
    """An error as SQLAlchemy wraps what asyncpg raised."""
    driver = Exception("as the driver's adapter raises it")
    driver.pgcode = state  # type: ignore[attr-defined]  # as the adapter sets it
    driver.__cause__ = cause
    return kind("SELECT 1", {}, driver)


@pytest.mark.parametrize(
    "state",
    ["57P01", "57P02", "57P03", "08006", "53300", "53100", "53200"],
    ids=["stops", "crashed", "starts", "cut", "no more connections", "disk full", "no memory"],
)
def test_a_database_that_cannot_answer_now_is_away(state: str) -> None:
    assert is_away(said_by_postgres(DBAPIError, state))


def test_a_connection_that_was_cut_in_the_middle_of_a_statement_is_away() -> None:
    cut = asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")
    assert is_away(said_by_postgres(InternalError, None, cut))


@pytest.mark.parametrize(
    "error", [OperationalError("SELECT 1", {}, Exception()), PoolTimeout()], ids=["unreachable", "no room"]
)
def test_what_can_not_be_reached_is_away(error: Exception) -> None:
    assert is_away(error)


@pytest.mark.parametrize(
    "error",
    [
        said_by_postgres(DBAPIError, "22P02"),
        said_by_postgres(DBAPIError, "57014"),
        said_by_postgres(IntegrityError, "23505"),
        said_by_postgres(ProgrammingError, "42601"),
        said_by_postgres(InternalError, None),
        ValueError("ours"),
    ],
)
def test_what_was_asked_wrongly_is_a_defect(error: Exception) -> None:
    assert not is_away(error)


def test_a_request_that_meets_a_starting_database_is_told_to_come_again() -> None:
    answer = unexpected_response(said_by_postgres(DBAPIError, "57P03"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert unexpected_response(said_by_postgres(DBAPIError, "22P02")).status_code == 500


@pytest.mark.parametrize(
    "error", [said_by_postgres(DBAPIError, "53100"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_full_disk_is_named_and_is_worth_another_try(error: Exception) -> None:
    answer = unexpected_response(error)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")
    assert b"disk of this studio is full" in answer.body
