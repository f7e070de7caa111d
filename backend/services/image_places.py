"""Whose image is decoded next: two at once in a process, one of an account, few waiting, and so much time for each.

Decoding is the costliest thing that a request of 100 KB can ask for, and a refused image costs as much as a taken one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from backend.domain.errors import RateLimited, Unavailable

AT_ONCE: Final = 2
AN_ACCOUNT: Final = 4
"""At work and waiting together."""
ALL: Final = 16
"""At work and waiting, of all accounts: each one that waits may hold a body of 12 MB."""
BUDGET_S: Final = 120.0
REFILL: Final = 0.1
"""Seconds of decoding that come back in a second."""
LEAST_COST_S: Final = 0.3
"""What a try costs, however soon it was refused: 400 in a row, then 1,200 an hour."""
_COME_BACK: Final = timedelta(seconds=5)


@dataclass
class _Spent:
    """Seconds that an account spent of its budget, as of `at_s`."""

    spent_s: float
    at_s: float

    def now(self, now_s: float) -> float:
        return max(0.0, self.spent_s - (now_s - self.at_s) * REFILL)


class ImagePlaces:
    """The places of one process."""

    def __init__(self, *, budget_s: float = BUDGET_S) -> None:
        self._budget_s = budget_s
        self._door = asyncio.Semaphore(AT_ONCE)
        self._here: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Lock] = {}
        self._spent: dict[str, _Spent] = {}

    @asynccontextmanager
    async def place(self, account_id: str) -> AsyncIterator[None]:
        """Wait for a place and hold it; the time it is held counts, and also that it was asked for.

        Raises:
            RateLimited: the account has so many images here already, or has spent its time.
            Unavailable: so many of all accounts wait.
        """
        self._check(account_id)
        self._here[account_id] += 1
        try:
            # Its own turn first: however many an account sends, it stands in the line of all with one of them.
            async with self._turns.setdefault(account_id, asyncio.Lock()), self._door:
                begun_s = time.monotonic()
                try:
                    yield
                finally:
                    self._spend(account_id, time.monotonic() - begun_s)
        finally:
            self._here[account_id] -= 1
            if not self._here[account_id]:
                del self._here[account_id], self._turns[account_id]

    def _check(self, account_id: str) -> None:
        if self._here[account_id] >= AN_ACCOUNT:
            raise RateLimited(
                f"{AN_ACCOUNT} images of this account are being read: send the next one when one is done.",
                retry_after=_COME_BACK,
            )
        spent = self._spent.get(account_id)
        if spent is not None and (over_s := spent.now(time.monotonic()) - self._budget_s) > 0:
            raise RateLimited(
                "This account's images took too much work to read: wait a while, or save them smaller.",
                retry_after=timedelta(seconds=1 + int(over_s / REFILL)),
            )
        if self._here.total() >= ALL:
            raise Unavailable(
                "Too many images are being read at once: try again in a moment.", retry_after=_COME_BACK
            )

    def _spend(self, account_id: str, took_s: float) -> None:
        now_s = time.monotonic()
        for known in [known for known, spent in self._spent.items() if spent.now(now_s) <= 0]:
            del self._spent[known]
        before = self._spent.get(account_id)
        spent_s = before.now(now_s) if before else 0.0
        self._spent[account_id] = _Spent(spent_s + max(took_s, LEAST_COST_S), now_s)


_places: dict[asyncio.AbstractEventLoop, ImagePlaces] = {}


def image_places() -> ImagePlaces:
    """Those of this process: it has one loop, and tests have one after the other."""
    loop = asyncio.get_running_loop()
    if loop not in _places:
        _places.clear()
        _places[loop] = ImagePlaces()
    return _places[loop]
