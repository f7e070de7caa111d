"""The page for an address where nothing is."""

import reflex as rx

from frontend.components.controls import link_button
from frontend.components.faces import empty
from frontend.layouts.shell import shell


def not_found() -> rx.Component:
    """Nothing here, and the way back."""
    return shell(
        "",
        empty(
            "Nothing is shown here",
            "The address is wrong, or what was here has been deleted.",
            link_button("To the studio", "/", tone="primary"),
            whole_page=True,
        ),
        class_name="room-not-found",
    )
