"""The page for an address where nothing is."""

import reflex as rx

from frontend.components.controls import link_button
from frontend.components.mark import mark


def not_found() -> rx.Component:
    """Nothing here, and the way back."""
    return rx.el.main(
        mark("mark mark-empty"),
        rx.el.h1("Nothing is shown here"),
        rx.el.p("The address is wrong, or what was here has been deleted."),
        link_button("To the studio", "/", tone="primary"),
        id="stage",
        class_name="alone",
    )
