"""A clip: the player, every parameter, and what can be done with it."""

from typing import Any

import reflex as rx

from frontend.components.clips import mark_buttons, withheld
from frontend.components.controls import button, dialog, icon, icon_button, link_button
from frontend.components.elements import inline_style, player, time_ago
from frontend.components.faces import empty
from frontend.components.money import receipt
from frontend.layouts.shell import shell
from frontend.states.clip import Clip


def _parameter(param: Any) -> rx.Component:
    return rx.el.div(
        rx.el.dt(param.name),
        rx.el.dd(
            rx.el.span(param.value, class_name=rx.cond(param.mono, "mono", "")),
            icon_button(
                "copy",
                f"Copy {param.name}",
                class_name="copy",
                custom_attrs={"data-copies": param.value, "data-copied": f"{param.name} copied"},
            ),
        ),
        class_name=rx.cond(param.long, "param param-long", "param"),
    )


def _verbs() -> rx.Component:
    return rx.el.div(
        link_button(
            "Use these settings",
            Clip.clip.settings_url,
            tone="primary",
            icon_name="settings",
            custom_attrs={"data-page-verb": "use"},
        ),
        rx.cond(
            Clip.clip.shown,
            rx.el.a(
                icon("download"),
                rx.el.span("Download"),
                href=Clip.clip.download_url,
                download=True,
                # Not a page of ours: the browser asks for it, not the router.
                reload_document=True,
                class_name="button button-plain",
            ),
        ),
        rx.el.div(
            *mark_buttons(Clip.clip, favourite=Clip.favourite, up=Clip.rate(1), down=Clip.rate(-1)),
            icon_button(
                "trash", "Delete", custom_attrs={"data-opens": "delete-clip", "data-page-verb": "delete"}
            ),
            class_name="clip-marks",
        ),
        class_name="clip-verbs",
    )


def _screen() -> rx.Component:
    return rx.el.div(
        rx.cond(
            Clip.clip.shown,
            player(
                src=Clip.clip.video_url,
                poster=Clip.clip.poster_url,
                fps=Clip.clip.fps,
                frames=Clip.clip.num_frames,
                label=Clip.clip.prompt,
            ),
            rx.el.div(withheld(Clip.clip), rx.el.p(Clip.clip.state_detail), class_name="clip-withheld"),
        ),
        class_name="clip-screen",
        custom_attrs=inline_style(__aspect=Clip.clip.aspect, __ratio=Clip.clip.grow),
    )


def _filled() -> rx.Component:
    return rx.el.article(
        _screen(),
        rx.el.div(
            rx.el.h2(Clip.clip.prompt, class_name="clip-prompt"),
            rx.el.p(
                Clip.clip.model,
                rx.el.span(Clip.clip.seconds),
                time_ago(Clip.clip.created_at),
                class_name="clip-facts",
            ),
            _verbs(),
            rx.cond(
                Clip.clip.parent_id != "",
                rx.el.p(
                    "Made from ",
                    rx.el.a("another clip", href=f"/clips/{Clip.clip.parent_id}"),
                    class_name="clip-parent",
                ),
            ),
            rx.el.dl(rx.foreach(Clip.clip.params, _parameter), class_name="params"),
            rx.cond(Clip.clip.receipt.id != "", receipt(Clip.clip.receipt)),
            class_name="clip-side",
        ),
        button(
            "Fetch fresh addresses",
            class_name="off-stage",
            tab_index=-1,
            aria_hidden="true",
            on_click=Clip.renew,
            custom_attrs={"data-verb": "renew"},
        ),
        class_name="clip",
        custom_attrs={"data-keys": ""},
    )


def _waiting() -> rx.Component:
    return rx.el.div(
        rx.el.div(rx.el.div(class_name="skeleton skeleton-screen"), class_name="clip-screen"),
        rx.el.div(*(rx.el.div(class_name="skeleton skeleton-row") for _ in range(4)), class_name="clip-side"),
        class_name="clip",
        aria_hidden="true",
    )


def clip_page() -> rx.Component:
    """One clip."""
    return shell(
        "Clip",
        rx.cond(
            Clip.missing,
            empty(
                "No such clip",
                "It was deleted, or it belongs to somebody else.",
                link_button("To the gallery", "/gallery", tone="primary"),
            ),
            rx.cond(Clip.clip.id != "", _filled(), _waiting()),
        ),
        dialog(
            "delete-clip",
            "Delete this clip?",
            rx.el.p("The video and its pictures are removed for good. What it cost is not given back."),
            rx.el.div(
                button("Keep", custom_attrs={"data-closes": ""}),
                button("Delete", tone="danger", on_click=Clip.delete),
                class_name="dialog-verbs",
            ),
        ),
        head=rx.el.a("Gallery", href="/gallery", class_name="quiet-link"),
        class_name="room-clip",
    )
