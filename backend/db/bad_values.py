"""What a statement looks like that failed by the values in it: sent again it fails again, and no other one does."""

from sqlalchemy.exc import DBAPIError

_DATA, _CONSTRAINT = "22", "23"


def has_bad_values(error: BaseException) -> bool:
    """Whether a value was refused, by the driver (it fits no type) or by Postgres (data or a constraint)."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "pgcode", None) or ""
    return state.startswith((_DATA, _CONSTRAINT)) or isinstance(
        getattr(error.orig, "__cause__", None), ValueError
    )
