"""The banner that says the connection is lost. It goes by itself: the tab reads everything again when it is back."""

import reflex as rx
from reflex_components_core.core.banner import has_connection_errors

from frontend.components.mark import mark


def connection_banner() -> rx.Component:
    """Shown while the event socket is down."""
    return rx.cond(
        has_connection_errors,
        rx.el.div(
            mark("mark turning"),
            rx.el.p(
                rx.el.strong("Connection lost."),
                " Your jobs go on without this page; it catches up when the studio is back.",
            ),
            class_name="connection-lost",
            role="status",
        ),
    )
