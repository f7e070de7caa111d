"""Whether this leader can hear its workers. Nobody is declared dead by someone who was deaf."""

from backend.clock import Clock

GAP_S = 3.0
"""A pause between two successful reads that is longer than this counts as deafness."""


class Hearing:
    """When reading workers' messages last worked, and since when it has worked without a gap."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0

    def heard(self) -> None:
        """A read of the uplinks came back, with messages or without."""
        now = self._clock.monotonic()
        if self._since is None or now - self._last > GAP_S:
            self._since = now
        self._last = now

    def deaf(self) -> None:
        """A read failed."""
        self._since = None

    def for_s(self) -> float:
        """Seconds of unbroken hearing up to now; 0 after a gap."""
        now = self._clock.monotonic()
        if self._since is None or now - self._last > GAP_S:
            return 0.0
        return now - self._since
