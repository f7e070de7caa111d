"""What is said while the connection is lost. It goes by itself: the tab reads everything again when it is back."""

from typing import Any

import reflex as rx
from reflex_components_core.core.banner import has_connection_errors

from frontend.components.elements import AwayElement, HeardElement, LastSeenElement
from frontend.components.mark import mark


def connection_banner() -> rx.Component:
    """Shown while the event socket is down."""
    return rx.cond(
        has_connection_errors,
        AwayElement.create(
            mark("mark turning"),
            rx.el.p(
                rx.el.strong("Connection lost."),
                " Your jobs go on without this page; it catches up when the studio is back.",
            ),
            class_name="connection-lost",
            role="status",
        ),
    )


def while_connected(words: Any) -> rx.Component:
    """A forecast; while nobody hears whether it still holds, when the studio was last heard instead."""
    return rx.cond(
        has_connection_errors,
        rx.fragment("Not connected: last seen ", LastSeenElement.create()),
        words,
    )


def heard(readings: Any) -> rx.Component:
    """Tells the browser that the studio was heard: whenever `readings`, their count, is another."""
    return HeardElement.create(hidden=True, custom_attrs={"beat": readings})
