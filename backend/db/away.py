"""What a database looks like that is away: out of reach, starting, stopping, cut off in the middle, or out of room."""

import errno

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_CONNECTION = "08"
_SHORT_OF_RESOURCES = "53"  # connections, memory, disk
_DISK_FULL = "53100"
_SHUTS_DOWN_CRASHED_OR_STARTS = frozenset({"57P01", "57P02", "57P03"})


def is_away(error: BaseException) -> bool:
    """Whether trying again later is right, whatever was asked. Nothing was lost by it."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    # SQLAlchemy has no class of its own for these: they come as `DBAPIError` and `InternalError`.
    state = getattr(error.orig, "pgcode", None) or ""
    return (
        state.startswith(_CONNECTION)
        or state.startswith(_SHORT_OF_RESOURCES)
        or state in _SHUTS_DOWN_CRASHED_OR_STARTS
        # The driver lost count of a connection that was cut in the middle of a statement.
        or isinstance(getattr(error.orig, "__cause__", None), asyncpg.InternalClientError)
    )


def is_full(error: BaseException) -> bool:
    """Whether a disk is full: the database's, or one that this process writes to."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) == _DISK_FULL
