"""The left rail, which becomes a bar at the bottom of a phone."""

from typing import Any

import reflex as rx

from frontend.components.controls import icon
from frontend.components.mark import mark


def _count(number: Any, meaning: str) -> rx.Component:
    return rx.cond(number > 0, rx.el.span(number, class_name="rail-count", aria_label=meaning))


def _place(
    name: str, label: str, href: str, here: str, *, within: str = "", badge: Any = None
) -> rx.Component:
    return rx.el.a(
        icon(name),
        rx.el.span(label, class_name="rail-label"),
        *([badge] if badge is not None else []),
        href=href,
        class_name="rail-place",
        title=label,
        **({"aria_current": "page"} if href == here else {"aria_current": "true"} if href == within else {}),
    )


def rail(
    *, here: str, within: str, going: Any, cases: Any, may_moderate: Any, account: rx.Component
) -> rx.Component:
    """The places of the studio. `within`: the place that a page without one of its own belongs to. `going`: how many
    jobs are on their way; `cases`: how many wait for a moderator."""
    return rx.el.nav(
        rx.el.a(
            mark(),
            rx.el.span("Zoetrope", class_name="rail-label"),
            href="/",
            class_name="rail-mark",
            aria_label="Zoetrope",
        ),
        rx.el.div(
            _place("create", "Create", "/", here),
            _place("progress", "In progress", "/progress", here, badge=_count(going, "jobs on their way")),
            _place("gallery", "Gallery", "/gallery", here, within=within),
            rx.cond(
                may_moderate,
                _place(
                    "moderation",
                    "Moderation",
                    "/moderation",
                    here,
                    badge=_count(cases, "cases waiting"),
                ),
            ),
            class_name="rail-places",
        ),
        account,
        class_name="rail",
        aria_label="Studio",
    )
