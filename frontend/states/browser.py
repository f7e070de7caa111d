"""What a handler can ask of the browser (assets/js/studio.js)."""

import inspect
import json
from typing import Any, Literal

import reflex as rx
from reflex.event import EventSpec
from reflex_base.utils.format import format_event_handler


def _call(name: str, *values: Any, then: Any = None) -> EventSpec:
    """Call a function of window.zoetrope, and the handler `then` with its answer. No code: see frontend/no_eval.py.

    The script is loaded after the first paint: on a slow network a page's first event may come before it.
    """
    asked: dict[str, Any] = {"call": name, "values": values}
    if then is not None:
        _self, answer = inspect.signature(then.fn).parameters
        asked |= {"then": format_event_handler(then), "as": answer}
    return rx.call_script(json.dumps(asked))


def toast(
    text: str,
    *,
    tone: Literal["plain", "good", "bad"] = "plain",
    action: str = "",
    clicks: str = "",
    href: str = "",
    stay_s: int = 0,
    instead_of: str = "",
) -> EventSpec:
    """Say something; `action` is a button that presses the element `clicks` selects, or a link to `href`.

    `stay_s`: for how long, where the usual time is not right. `instead_of`: it replaces the notice of that name.
    """
    return _call(
        "toast",
        {
            "text": text,
            "tone": tone,
            "action": action,
            "clicks": clicks,
            "href": href,
            "stayMs": stay_s * 1000,
            "name": instead_of,
        },
    )


def arrived(prompt: str, href: str, *, quiet: bool) -> EventSpec:
    """A clip is ready: said in the tab's title while nobody looks, and here, unless the page shows it (`quiet`)."""
    return _call("arrived", {"prompt": prompt, "href": href, "quiet": quiet})


def credits_changed() -> EventSpec:
    """There is more or less to spend: a page with a price asks for it again."""
    return _call("creditsChanged")


def set_address(address: str) -> EventSpec:
    """Show this address in place of the page's own, so that reloading and sharing keep what is seen."""
    return _call("setAddress", address)


def open_dialog(dialog_id: str) -> EventSpec:
    """Open a dialog of the page."""
    return _call("open", dialog_id)


def close_dialog(dialog_id: str) -> EventSpec:
    """Close a dialog of the page."""
    return _call("close", dialog_id)


def restore_draft(fields: dict[str, str]) -> EventSpec:
    """Bring the composer's kept draft back, with `fields` over it."""
    return _call("restoreDraft", fields)


def with_draft(handler: Any) -> EventSpec:
    """Call a handler with the composer's fields, once they are drawn."""
    return _call("draftWhenDrawn", then=handler)


def draft_sent(sent: dict[str, str]) -> EventSpec:
    """The composer's draft became a job: of these fields, what is still as it was `sent` goes."""
    return _call("draftSent", sent)


def focus(selector: str) -> EventSpec:
    """Move the focus, as soon as what is to have it is drawn."""
    return _call("focus", selector)


def go_to_door() -> EventSpec:
    """Load the sign-in page, to come back to this one afterwards."""
    return _call("door")


def set_field(selector: str, value: str) -> EventSpec:
    """Write into a field that the browser keeps."""
    return _call("setField", selector, value)


def show_secret(secret: str) -> EventSpec:
    """Show a new API key. It is in no var: the server keeps those, and sends them again."""
    return _call("showSecret", secret)


def clear_form(selector: str) -> EventSpec:
    """Empty a form's fields."""
    return _call("clear", selector)


def with_fields(selector: str, handler: Any) -> EventSpec:
    """Call a handler with the fields of a form, as they stand when the event fires."""
    return _call("fields", selector, then=handler)
