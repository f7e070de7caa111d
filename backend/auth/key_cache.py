"""Recognised API keys of the last moments, so that a busy program costs no query a request."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from backend.auth.principal import Principal
from backend.auth.tokens import hash_token
from backend.clock import Clock
from backend.db.away import is_away
from backend.domain.errors import NotSignedIn

TTL = timedelta(seconds=2)
"""A revoked key, a changed tier or role is noticed after this."""
KNOWN_WHILE_AWAY = timedelta(minutes=2)
"""For so long a key that was found is believed while the database is away: whoever is refused then is known, so that
their next try makes its job."""
MAX_KEYS = 20_000


class KeyCache:
    """Principals by the hash of their key. Only keys that were found are kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: OrderedDict[str, tuple[Principal, float]] = OrderedDict()

    async def get(self, key: str, look_up: Callable[[str], Awaitable[Principal]]) -> Principal:
        """The principal of a key, looked up when it wasn't within `TTL`. Raises what `look_up` raises."""
        hashed = hash_token(key)
        now = self._clock.monotonic()
        found = self._found.get(hashed)
        if found is not None and found[1] > now:
            return found[0]
        try:
            principal = await look_up(key)
        except (SQLAlchemyError, OSError) as error:
            away = isinstance(error, OSError) or is_away(error)
            if away and found is not None and now < found[1] + KNOWN_WHILE_AWAY.total_seconds():
                return found[0]
            raise
        except NotSignedIn:
            self._found.pop(hashed, None)
            raise
        self._found.pop(hashed, None)
        self._found[hashed] = (principal, now + TTL.total_seconds())
        while len(self._found) > MAX_KEYS:
            self._found.popitem(last=False)
        return principal
