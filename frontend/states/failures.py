"""What the browser does when a handler raised: the one outer edge of all events."""

import reflex as rx
import structlog
from reflex.event import EventSpec

from frontend.gateway import NotAllowed, NotSignedIn, Refused, Unavailable
from frontend.states import browser

_AWAY = "That did not work: a part of the studio is not answering. Nothing was lost; try again in a moment."
_log = structlog.get_logger(__name__)


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
            return browser.toast(_AWAY, tone="bad")
        case _:
            _log.error("page.event_failed", exc_info=exception)
            return browser.toast(_AWAY, tone="bad")
