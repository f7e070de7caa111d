"""One's own password, and what is said to whoever has none."""

from typing import Any

import reflex as rx

from backend.auth.passwords import MIN_CHARS
from frontend.components.controls import dialog, field, icon, text_input


def no_way_back(*, shown: Any) -> rx.Component:
    """For whoever came in by a link that works once, and could not come in again."""
    return rx.cond(
        shown,
        rx.el.button(
            icon("key"),
            rx.el.span("Set a password", class_name="rail-label"),
            type="button",
            class_name="rail-place rail-nudge",
            title="Set a password: the link that you came in by works once",
            custom_attrs={"data-opens": "set-password"},
        ),
    )


def password_dialog(*, has_password: Any) -> rx.Component:
    """Set or change the password; opened by `data-opens="set-password"` on any page of the studio."""
    return dialog(
        "set-password",
        rx.cond(has_password, "Change the password", "Set a password"),
        rx.el.form(
            rx.cond(
                has_password,
                field(
                    "Current password",
                    text_input("current", kind="password", auto_complete="current-password", required=True),
                    name="current",
                ),
            ),
            field(
                "New password",
                text_input(
                    "password",
                    kind="password",
                    auto_complete="new-password",
                    required=True,
                    min_length=MIN_CHARS,
                ),
                name="password",
                hint="Twelve characters or more. A sentence is fine. Other browsers are signed out.",
            ),
            rx.el.p(class_name="field-error", role="alert", custom_attrs={"data-error": ""}),
            rx.el.div(
                rx.el.button(rx.el.span("Save"), type="submit", class_name="button button-primary"),
                class_name="dialog-verbs",
            ),
            class_name="dialog-form",
            method="post",
            no_validate=True,
            custom_attrs={"data-post": "/auth/password", "data-then": "/account"},
        ),
    )
