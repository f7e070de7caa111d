"""The shell of every signed-in page: rail, stage, notices."""

from typing import Any

import reflex as rx

from frontend.components.connection import heard
from frontend.components.controls import icon, icon_button
from frontend.components.password import no_way_back, password_dialog
from frontend.components.rail import rail
from frontend.states.session import Session


def _account(here: str) -> rx.Component:
    return rx.el.div(
        no_way_back(shown=Session.account.signed_in & ~Session.account.has_password),
        rx.el.a(
            icon("account"),
            rx.el.span(
                rx.el.span(Session.account.email, class_name="rail-email"),
                rx.el.span(
                    rx.cond(Session.account.signed_in, f"{Session.account.credits_label} credits", ""),
                    class_name="rail-credits",
                ),
                class_name="rail-label rail-who",
            ),
            rx.el.span("Account", class_name="rail-short", aria_hidden="true"),
            href="/account",
            class_name="rail-place rail-account",
            aria_label="Account",
            title="Account",
            **({"aria_current": "page"} if here == "/account" else {}),
        ),
        rx.el.div(
            icon_button(
                "sun", "Light or dark", class_name="theme-toggle", custom_attrs={"data-theme-toggle": ""}
            ),
            class_name="rail-foot",
        ),
        class_name="rail-end",
    )


def shell(
    title: str, *children: Any, here: str = "", within: str = "", head: Any = None, class_name: str = ""
) -> rx.Component:
    """A page of the studio. `title` is its heading, empty where the page brings its own; `head` stands beside it.

    `here` is its place in the rail; `within` the place it belongs to, where it has none.
    """
    return rx.el.div(
        rx.el.a("Skip to the page", href="#stage", class_name="skip"),
        rail(
            here=here,
            within=within,
            going=Session.going,
            cases=Session.cases_waiting,
            may_moderate=Session.account.may_moderate,
            account=_account(here),
        ),
        rx.el.main(
            rx.el.header(
                *([rx.el.h1(title)] if title else []),
                *([head] if head is not None else []),
                class_name="stage-head",
            ),
            *children,
            id="stage",
            class_name="stage",
            tab_index=-1,
        ),
        password_dialog(has_password=Session.account.has_password),
        notices(),
        heard(Session.readings),
        class_name=f"shell {class_name}".strip(),
    )


def notices() -> rx.Component:
    """Where toasts appear; announced, never taking the focus."""
    return rx.el.div(id="toasts", class_name="toasts", role="status", aria_live="polite")
