"""Everybody who watches hears that places in the queue moved: at most once a second, and always of the last move."""

import math
from collections.abc import Awaitable, Callable

from backend.clock import Clock

EVERY_S = 1.0
"""Each telling has every open page read its jobs again and ask the leader for places."""


class PlacesMoved:
    """Moves that watchers have not been told of."""

    def __init__(self, say: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._say = say
        self._clock = clock
        self._moved = False
        self._said_at_s = -math.inf

    def moved(self) -> None:
        """Some job came, left or was given to a worker."""
        self._moved = True

    async def tell(self) -> None:
        """Say so if it is time; to be called again within a second."""
        now_s = self._clock.monotonic()
        if self._moved and now_s - self._said_at_s >= EVERY_S:
            self._moved, self._said_at_s = False, now_s
            await self._say()
