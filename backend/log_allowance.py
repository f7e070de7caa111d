"""How many log lines of a kind may be written in a while: for what anybody can cause again and again."""

import time


class LogAllowance:
    """So many within `within_s` seconds from the first, then none; what was left out is counted."""

    def __init__(self, *, most: int, within_s: float = 60.0) -> None:
        self._most = most
        self._within_s = within_s
        self._ends_at_s = 0.0
        self._asked = 0

    def take(self) -> bool:
        """Whether one more may be."""
        now_s = time.monotonic()
        if now_s >= self._ends_at_s:
            self._ends_at_s, self._asked = now_s + self._within_s, 0
        self._asked += 1
        return self._asked <= self._most

    def left_out(self) -> int:
        """How many were not allowed in the while that is over; 0 while it lasts. To be asked before `take`."""
        return max(0, self._asked - self._most) if time.monotonic() >= self._ends_at_s else 0
