"""The faces of a list: loading, empty, error. The filled one is the page's own."""

from typing import Any

import reflex as rx

from frontend.components.controls import button, icon
from frontend.components.mark import mark


def skeleton_tiles(count: int = 8) -> rx.Component:
    """Grey posters where the clips will be."""
    return rx.el.div(
        *(rx.el.div(class_name="skeleton skeleton-tile") for _ in range(count)),
        class_name="wall wall-skeleton",
        aria_hidden="true",
    )


def skeleton_rows(count: int = 3, class_name: str = "") -> rx.Component:
    """Grey strips where rows will be."""
    return rx.el.div(
        *(rx.el.div(class_name="skeleton skeleton-row") for _ in range(count)),
        class_name=f"skeleton-rows {class_name}".strip(),
        aria_hidden="true",
    )


def empty(
    title: Any, words: Any, *actions: rx.Component, quiet: bool = False, whole_page: bool = False
) -> rx.Component:
    """What will be here, and the one action that fills it. `whole_page`: nothing else is, so this is its heading."""
    return rx.el.div(
        mark("mark mark-empty"),
        rx.el.div(
            rx.el.h1(title) if whole_page else rx.el.h2(title),
            rx.el.p(words),
            *actions,
            class_name="empty-words",
        ),
        class_name="empty empty-quiet" if quiet else "empty",
    )


def failed(words: Any, *, again: Any) -> rx.Component:
    """A list that could not be read: what to do next."""
    return rx.el.div(
        icon("warning"),
        rx.el.p(words),
        button("Try again", icon_name="again", on_click=again),
        class_name="trouble",
        role="alert",
    )
