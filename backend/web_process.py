"""What one web process shares between API and pages.

Opened at first use: the client is built without a database.
"""

from collections.abc import Callable
from functools import cached_property

from backend.auth.key_cache import KeyCache
from backend.live import LiveHub, Seats
from backend.log import configure_logging
from backend.settings import load_settings
from backend.studio import Studio, open_studio


def _from_environment() -> Studio:
    settings = load_settings()
    configure_logging("web", settings.log_level)
    return open_studio(settings)


class WebProcess:
    """The studio, its live changes and its cache of keys. Made at import, opened by the first request."""

    def __init__(self, open_: Callable[[], Studio] = _from_environment) -> None:
        self._open = open_

    @cached_property
    def studio(self) -> Studio:
        """What use cases run on."""
        return self._open()

    @cached_property
    def live(self) -> LiveHub:
        """Who watches which account."""
        return LiveHub(self.studio.wakeups.redis)

    @cached_property
    def seats(self) -> Seats:
        """Who has how many event streams open."""
        return Seats()

    @cached_property
    def keys(self) -> KeyCache:
        """API keys that were recognised just now."""
        return KeyCache(self.studio.clock)

    async def close(self) -> None:
        """Let go of all that was opened."""
        if "live" in self.__dict__:
            await self.live.close()
        if "studio" in self.__dict__:
            await self.studio.close()
