"""One look at the studio for all who ask at about the same time: a look writes a file and opens connections."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

FRESH_S = 1.5

Findings = Mapping[str, str]


class Readiness:
    """What was found, for `FRESH_S` after it was found. Who asks while somebody looks waits for the same answer."""

    def __init__(self, look: Callable[[], Awaitable[Findings]]) -> None:
        self._look = look
        self._turn = asyncio.Lock()
        self._found: Findings = {}
        self._found_at_s: float | None = None

    async def now(self) -> Findings:
        """The newest findings."""
        async with self._turn:
            if self._found_at_s is None or time.monotonic() - self._found_at_s > FRESH_S:
                self._found = await self._look()
                self._found_at_s = time.monotonic()
            return self._found
