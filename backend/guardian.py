"""Outlives the supervisor by a moment: when that is killed, ends every process group it had started.

Runs as a script of its own, with the standard library only. Its input comes from the supervisor, a line
`watch PGID SIGNAL` or `forget PGID` a change; the end of that input is the supervisor's death. Works the same
on macOS, which has no signal for the death of a parent.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_S = 8.0


def watched_groups(lines: Iterable[str]) -> dict[int, int]:
    """Reads until the input ends; returns what is watched then: process group to the signal it ends by."""
    groups: dict[int, int] = {}
    for line in lines:
        match line.split():
            case ["watch", group, number]:
                groups[int(group)] = int(number)
            case ["forget", group]:
                groups.pop(int(group), None)
            case _:
                continue
    return groups


def end_groups(groups: dict[int, int], grace_s: float = GRACE_S) -> None:
    """Asks each group to end, waits for `grace_s` at most, and kills the rest."""
    for group, number in groups.items():
        _signal(group, number)
    deadline = time.monotonic() + grace_s
    while any(_signal(group, 0) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Guards until the supervisor is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt):
        end_groups(watched_groups(sys.stdin))


if __name__ == "__main__":
    main()
