"""Posters of clips, and the wall they hang on."""

from collections.abc import Callable
from typing import Any

import reflex as rx

from frontend.components.controls import icon, icon_button
from frontend.components.elements import clip_poster, inline_style, justified, time_ago


def withheld(clip: Any) -> rx.Component:
    """In the place of a clip that cannot be shown: why not."""
    return rx.el.div(
        rx.match(
            clip.state,
            ("in_review", icon("clock")),
            ("cancelled", icon("stop")),
            ("blocked", icon("blocked")),
            ("taken_down", icon("blocked")),
            icon("warning"),
        ),
        rx.el.span(clip.state_label, class_name="withheld-label"),
        rx.el.span(clip.prompt, class_name="withheld-prompt"),
        class_name="withheld",
    )


def poster(
    clip: Any, *, actions: Callable[[Any], list[rx.Component]] | None = None, selected: Any = None
) -> rx.Component:
    """One poster: plays when pointed at or focused; its title and actions on demand."""
    return rx.el.div(
        rx.el.a(
            rx.cond(
                clip.shown,
                clip_poster(poster=clip.poster_url, src=clip.video_url),
                withheld(clip),
            ),
            href=f"/clips/{clip.id}",
            class_name="tile-link",
            aria_label=clip.prompt,
            custom_attrs={"data-tile-link": ""},
        ),
        rx.cond(
            clip.shown,
            rx.el.div(
                rx.el.p(clip.prompt, class_name="tile-prompt"),
                rx.el.p(
                    clip.model, rx.el.span(clip.seconds), time_ago(clip.created_at), class_name="tile-facts"
                ),
                class_name="tile-words",
            ),
        ),
        *([rx.el.div(*actions(clip), class_name="tile-actions")] if actions else []),
        rx.cond(clip.favourite, rx.el.span(icon("heart"), class_name="tile-mark", title="Favourite")),
        # A tile stays its clip's own when others come before it or go: so does the focus.
        key=clip.id,
        class_name=rx.cond(selected, "tile tile-selected", "tile") if selected is not None else "tile",
        custom_attrs={"data-tile": clip.id, **inline_style(__aspect=clip.aspect, __grow=clip.grow)},
    )


def wall(
    clips: Any, *, tile: Callable[[Any], rx.Component], class_name: str = "", whole_rows: Any = False
) -> rx.Component:
    """Posters in justified rows, each at its own aspect ratio; `whole_rows`: without a last one that is not full."""
    return justified(
        rx.foreach(clips, lambda clip: tile(clip)),
        class_name=f"wall {class_name}".strip(),
        whole_rows=whole_rows,
    )


def mark_buttons(clip: Any, *, favourite: Any, up: Any, down: Any) -> list[rx.Component]:
    """Favourite and the two thumbs, as toggles."""
    return [
        icon_button(
            "heart",
            "Favourite",
            on_click=favourite,
            aria_pressed=rx.cond(clip.favourite, "true", "false"),
            class_name="mark-button",
            custom_attrs={"data-verb": "favourite", "data-page-verb": "favourite"},
        ),
        icon_button(
            "up",
            "Good",
            on_click=up,
            aria_pressed=rx.cond(clip.rating == 1, "true", "false"),
            class_name="mark-button",
        ),
        icon_button(
            "down",
            "Not good",
            on_click=down,
            aria_pressed=rx.cond(clip.rating == -1, "true", "false"),
            class_name="mark-button",
        ),
    ]
