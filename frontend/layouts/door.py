"""The narrow frame of sign-in, sign-up and reset: one form, and the drum."""

from typing import Any

import reflex as rx

from frontend.components.controls import icon_button
from frontend.components.drum import drum
from frontend.components.mark import mark
from frontend.layouts.shell import notices


def door(title: str, words: Any, *children: Any, foot: Any = None) -> rx.Component:
    """One form in a quiet room."""
    return rx.el.div(
        rx.el.div(drum(), class_name="door-side"),
        rx.el.main(
            rx.el.a(mark(), rx.el.span("Zoetrope"), href="/", class_name="door-mark"),
            rx.el.div(
                rx.el.h1(title),
                rx.el.p(words, class_name="door-words"),
                *children,
                class_name="door-form",
            ),
            rx.el.footer(
                rx.el.div(*([foot] if foot is not None else [])),
                icon_button(
                    "sun", "Light or dark", class_name="theme-toggle", custom_attrs={"data-theme-toggle": ""}
                ),
                class_name="door-foot",
            ),
            id="stage",
            class_name="door-main",
        ),
        notices(),
        class_name="door",
    )
