"""What the browser does when a handler raised, and what the log keeps of it: the one outer edge of all events."""

from typing import Any, Final

import reflex as rx
import structlog
from reflex.event import EventSpec

from backend.log_allowance import LogAllowance
from frontend.gateway import NotAllowed, NotSignedIn, Refused, Unavailable
from frontend.states import browser

_AWAY = "That did not work: a part of the studio is not answering. Nothing was lost; try again in a moment."
_log = structlog.get_logger(__name__)

MOST_LINES: Final = 20


class SparingLog:
    """Lines that anybody can cause: so many a minute, then one that says how many were left out."""

    def __init__(self, *, most: int = MOST_LINES) -> None:
        self._allowance = LogAllowance(most=most)

    def warning(self, event: str, **keys: Any) -> None:
        """Write a line."""
        if self._may_write():
            _log.warning(event, **keys)

    def error(self, event: str, **keys: Any) -> None:
        """Write a line, with a traceback where `exc_info` is given."""
        if self._may_write():
            _log.error(event, **keys)

    def _may_write(self) -> bool:
        if left_out := self._allowance.left_out():
            _log.warning("page.lines_left_out", count=left_out)
        return self._allowance.take()


_failures = SparingLog()


def answer(exception: Exception) -> EventSpec:
    """Turn what a handler raised into something for its reader.

    Nobody is sent to the door (to come back to this page), somebody without the right to the front page. A refusal is
    said as it is. All else is a defect or a part that is down: logged with its traceback, said without it.
    """
    match exception:
        case NotSignedIn():
            return browser.go_to_door()
        case NotAllowed():
            return rx.redirect("/")
        case Refused():
            return browser.toast(exception.message, tone="bad")
        case Unavailable():
            return browser.toast(_AWAY, tone="bad", instead_of="away")
        case _:
            _failures.error("page.event_failed", exc_info=exception)
            return browser.toast(_AWAY, tone="bad", instead_of="away")


def note_broken_page(exception: Exception) -> None:
    """Log that a browser says its page broke. Not its words: anybody sends any, and a person's own may be in them."""
    _failures.error("page.broke", words_chars=len(str(exception)))
