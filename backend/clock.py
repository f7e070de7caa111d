"""Time as a port: what the system says, and a clock that tests turn by hand."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations inside one process."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations inside one process."""
        return time.monotonic()


class FakeClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock starts at an aware datetime")
        self._now = start
        self._monotonic_s = 0.0

    def now(self) -> datetime:
        """The time it was set to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds advanced since the start; a jump of the wall clock does not show here."""
        return self._monotonic_s

    def advance(self, by: timedelta) -> datetime:
        """Lets time pass; returns the new time."""
        if by < timedelta(0):
            raise ValueError("time passes forwards; use jump_to for a wall clock that is set back")
        self._now += by
        self._monotonic_s += by.total_seconds()
        return self._now

    def jump_to(self, moment: datetime) -> None:
        """Sets the wall clock, as an operator or NTP would, without any time passing."""
        self._now = moment
