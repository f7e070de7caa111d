"""`make run` puts make between the terminal and us, and make passes on TERM but not INT or HUP sent to it alone.

Told to stop, make only ceases to catch that signal and waits for us; so we look whether it still catches it.
"""

import os
import re
import signal
from pathlib import Path

import psutil

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CAUGHT = re.compile(r"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)


class MakeParent:
    """The make that runs us, if one does."""

    def __init__(self) -> None:
        self._pid = os.getppid()
        self._is_make = _name(self._pid) in {"make", "gmake"}
        self._caught = 0
        self._caught = self._catches()

    def stop_asked(self) -> signal.Signals | None:
        """The signal that make got and kept for itself; TERM when it is gone; None while all is well."""
        if not self._is_make:
            return None
        if os.getppid() != self._pid:
            return signal.SIGTERM
        given_up = self._caught & ~self._catches()
        return next((number for number in _SIGNALS if given_up & _bit(number)), None)

    def _catches(self) -> int:
        """A bit a caught signal, on Linux; elsewhere always what it was."""
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
        except OSError:
            return self._caught
        match = _CAUGHT.search(status)
        return int(match[1], 16) if match else 0


def _bit(number: signal.Signals) -> int:
    return 1 << (number - 1)


def _name(pid: int) -> str:
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return ""
