"""The gallery: a wall of posters, found by words, filtered by chips, worked through by keys."""

from typing import Any

import reflex as rx

from frontend.components.clips import mark_buttons, poster, wall
from frontend.components.controls import button, dialog, icon, icon_button, link_button
from frontend.components.faces import empty, failed, skeleton_tiles
from frontend.components.keys_help import keys_help
from frontend.layouts.shell import shell
from frontend.states.gallery import Gallery

_SHOWS = (
    ("ready", "Ready"),
    ("favourites", "Favourites"),
    ("review", "In review"),
    ("blocked", "Not allowed"),
    ("stopped", "Failed or cancelled"),
    ("all", "All"),
)
_KEYS = (
    ("/", "search"),
    ("j  k", "next, previous"),
    ("← ↑ ↓ →", "to the neighbour"),
    ("space", "play"),
    ("f", "favourite"),
    ("u", "use these settings"),
    ("x", "select"),
    ("d", "delete"),
    ("?", "this list"),
)


def _tile_actions(clip: Any) -> list[rx.Component]:
    return [
        icon_button(
            "select",
            f"Select: {clip.prompt}",
            on_click=Gallery.select(clip.id),
            aria_pressed=rx.cond(Gallery.selected.contains(clip.id), "true", "false"),
            class_name="tile-select",
            custom_attrs={"data-verb": "select"},
        ),
        rx.cond(
            clip.shown,
            rx.fragment(
                *mark_buttons(
                    clip,
                    favourite=Gallery.favourite(clip.id, ~clip.favourite),
                    up=Gallery.rate(clip.id, rx.cond(clip.rating == 1, 0, 1)),
                    down=Gallery.rate(clip.id, rx.cond(clip.rating == -1, 0, -1)),
                )
            ),
        ),
        rx.el.a(
            icon("settings"),
            href=clip.settings_url,
            class_name="icon-button",
            aria_label="Use these settings",
            title="Use these settings",
            custom_attrs={"data-verb": "use"},
        ),
        icon_button(
            "trash", "Delete", on_click=Gallery.ask_to_delete(clip.id), custom_attrs={"data-verb": "delete"}
        ),
    ]


def _tile(clip: Any) -> rx.Component:
    return poster(clip, actions=_tile_actions, selected=Gallery.selected.contains(clip.id))


def _tools() -> rx.Component:
    return rx.el.div(
        rx.el.label(
            icon("search"),
            rx.el.span("Search the prompts", class_name="off-screen"),
            rx.el.input(
                type="search",
                default_value=Gallery.search,
                placeholder="Search",
                class_name="input",
                on_change=Gallery.find.debounce(200),
                custom_attrs={"data-search": ""},
            ),
            rx.el.kbd("/"),
            class_name="search",
        ),
        rx.el.div(
            *(
                rx.el.button(
                    label,
                    type="button",
                    class_name="chip",
                    aria_pressed=rx.cond(Gallery.show == show, "true", "false"),
                    on_click=Gallery.filter_by(show),
                )
                for show, label in _SHOWS
            ),
            class_name="chips",
            role="group",
            aria_label="Show",
        ),
        icon_button("help", "Keys", class_name="keys-button", custom_attrs={"data-opens": "keys-help"}),
        class_name="tools",
        custom_attrs={"data-keys": ""},
    )


def _select_mode() -> rx.Component:
    """For a finger, which can't hover: then a tap selects, and buttons that nobody sees are not in its way."""
    return rx.cond(
        Gallery.clips.length() > 0,
        rx.el.div(
            button(
                rx.cond(Gallery.selecting, "Done", "Select"),
                tone="quiet",
                on_click=Gallery.toggle_selecting,
                class_name="select-mode",
            ),
            class_name="head-side",
        ),
    )


def _nothing() -> rx.Component:
    return rx.cond(
        Gallery.filtered,
        empty(
            "Nothing here",
            rx.cond(
                Gallery.search != "",
                "No clip matches these words and this filter.",
                "No clip is in this part of the gallery.",
            ),
            button("Show ready clips", on_click=Gallery.start_over),
        ),
        empty(
            "No clips yet",
            rx.fragment(
                "Every clip you make appears here, newest first. ",
                rx.el.span("Point at one and it plays.", class_name="by-pointer"),
                rx.el.span("Open one and it plays.", class_name="by-touch"),
            ),
            link_button("Make the first one", "/", tone="primary"),
        ),
    )


def _selection() -> rx.Component:
    return rx.cond(
        Gallery.selected_count > 0,
        rx.el.div(
            rx.el.p(Gallery.selected_count, " selected", class_name="selection-count", aria_live="polite"),
            button(
                "Favourite",
                icon_name="heart",
                on_click=Gallery.favourite_selected,
                custom_attrs={"data-selection-verb": "favourite"},
            ),
            button(
                "Delete",
                icon_name="trash",
                tone="danger",
                on_click=Gallery.ask_to_delete(""),
                custom_attrs={"data-selection-verb": "delete"},
            ),
            icon_button("close", "Clear the selection", on_click=Gallery.select_none),
            class_name="selection",
            role="toolbar",
            aria_label="Selected clips",
        ),
    )


def _delete_dialog() -> rx.Component:
    return dialog(
        "delete-clips",
        rx.cond(
            Gallery.leaving.length() == 1, "Delete this clip?", f"Delete {Gallery.leaving.length()} clips?"
        ),
        rx.el.p("The video and its pictures are removed for good. What it cost is not given back."),
        rx.el.div(
            button("Keep", custom_attrs={"data-closes": ""}),
            button("Delete", tone="danger", on_click=Gallery.delete),
            class_name="dialog-verbs",
        ),
    )


def gallery_page() -> rx.Component:
    """All clips of the account."""
    return shell(
        "Gallery",
        _tools(),
        rx.cond(
            Gallery.wall_trouble != "",
            failed(Gallery.wall_trouble, again=Gallery.open),
            rx.cond(
                Gallery.read,
                rx.cond(
                    Gallery.clips.length() > 0,
                    rx.fragment(
                        rx.el.div(
                            wall(Gallery.clips, tile=_tile, class_name="wall-gallery"),
                            class_name=rx.cond(Gallery.selecting, "wall-selecting", ""),
                        ),
                        rx.cond(
                            Gallery.cursor != "",
                            rx.el.div(button("Load more", on_click=Gallery.more), class_name="wall-more"),
                        ),
                    ),
                    _nothing(),
                ),
                skeleton_tiles(12),
            ),
        ),
        _selection(),
        _delete_dialog(),
        keys_help(_KEYS),
        head=_select_mode(),
        here="/gallery",
        class_name="room-gallery",
    )
