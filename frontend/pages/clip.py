"""A clip: the player, every parameter, and what can be done with it."""

from typing import Any

import reflex as rx

from frontend.components.clips import mark_buttons, withheld
from frontend.components.controls import button, dialog, icon, icon_button, link_button
from frontend.components.elements import inline_style, player, time_ago
from frontend.components.faces import empty
from frontend.components.keys_help import keys_help
from frontend.components.money import receipt
from frontend.components.stage import live_screen, live_words
from frontend.layouts.shell import shell
from frontend.pages.progress import stop_dialog
from frontend.states.clip import Clip
from frontend.states.jobs import Jobs

_KEYS = (
    ("space", "play or pause"),
    (",  .", "one frame back, forward"),
    ("l", "loop"),
    ("↵", "full screen"),
    ("← →", "newer, older clip"),
    ("f", "favourite"),
    ("u", "use these settings"),
    ("d", "delete"),
    ("esc", "back to the gallery"),
    ("?", "this list"),
)
_DELETE = {"data-opens": "delete-clip", "data-page-verb": "delete"}


def _parameter(param: Any) -> rx.Component:
    return rx.el.div(
        rx.el.dt(param.name),
        rx.cond(
            param.picture_url != "",
            rx.el.dd(rx.el.img(src=param.picture_url, alt=param.value, class_name="param-picture")),
            rx.el.dd(
                rx.el.span(param.value, class_name=rx.cond(param.mono, "mono", "")),
                icon_button(
                    "copy",
                    f"Copy {param.name}",
                    class_name="copy",
                    custom_attrs={
                        "data-copies": rx.cond(param.raw != "", param.raw, param.value),
                        "data-copied": f"{param.name} copied",
                    },
                ),
            ),
        ),
        class_name=rx.cond(param.long, "param param-long", "param"),
    )


def _verbs() -> rx.Component:
    return rx.el.div(
        rx.cond(
            Clip.clip.shown,
            rx.fragment(
                rx.el.a(
                    icon("download"),
                    rx.el.span("Download"),
                    href=Clip.clip.download_url,
                    download=True,
                    # Not a page of ours: the browser asks for it, not the router.
                    reload_document=True,
                    class_name="button button-primary clip-download",
                ),
                button(
                    rx.fragment(
                        "Again with another seed", rx.el.span(Clip.clip.again_price, class_name="verb-price")
                    ),
                    icon_name="dice",
                    on_click=Clip.vary,
                ),
            ),
        ),
        rx.cond(
            Clip.clip.in_full_url != "",
            link_button("Make it in full", Clip.clip.in_full_url, icon_name="again"),
        ),
        link_button(
            "Use these settings",
            Clip.clip.settings_url,
            icon_name="settings",
            custom_attrs={"data-page-verb": "use"},
        ),
        rx.cond(
            Clip.clip.shown,
            rx.el.div(
                *mark_buttons(Clip.clip, favourite=Clip.favourite, up=Clip.rate(1), down=Clip.rate(-1)),
                icon_button("trash", "Delete", custom_attrs=_DELETE),
                class_name="clip-marks",
            ),
            button("Delete", icon_name="trash", custom_attrs=_DELETE),
        ),
        class_name="clip-verbs",
    )


def _live_verbs() -> rx.Component:
    return rx.cond(
        Clip.job.can_cancel,
        rx.el.div(
            button(
                rx.cond(Clip.job.step > 0, "Stop", "Cancel"),
                icon_name="close",
                on_click=Jobs.ask_to_cancel(Clip.job.id),
                custom_attrs={"data-job": Clip.job.id},
            ),
            class_name="clip-verbs",
        ),
    )


def _screen() -> rx.Component:
    """The player; while it is made, what can be seen of it; or why there is nothing to see."""
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
            rx.cond(
                (Clip.job.id != "") & ~Clip.job.in_review,
                rx.el.div(
                    rx.el.div(live_screen(Clip.job), class_name="live-screen"),
                    live_words(Clip.job),
                    class_name="clip-live",
                ),
                rx.el.div(withheld(Clip.clip), rx.el.p(Clip.clip.state_detail), class_name="clip-withheld"),
            ),
        ),
        class_name="clip-screen",
        custom_attrs=inline_style(__aspect=Clip.clip.aspect, __ratio=Clip.clip.grow, __grow=Clip.clip.grow),
    )


def _filled() -> rx.Component:
    return rx.el.article(
        _screen(),
        rx.el.div(
            rx.el.div(
                rx.el.h1(Clip.clip.prompt, class_name="clip-prompt"),
                icon_button(
                    "copy",
                    "Copy the prompt",
                    custom_attrs={"data-copies": Clip.clip.prompt, "data-copied": "Prompt copied"},
                ),
                class_name="clip-title",
            ),
            rx.el.p(
                Clip.clip.model,
                rx.el.span(Clip.clip.seconds),
                time_ago(Clip.clip.created_at),
                class_name="clip-facts",
            ),
            rx.cond(Clip.clip.under_way, _live_verbs(), _verbs()),
            rx.cond(
                Clip.clip.parent_id != "",
                rx.el.p(
                    "Made from ",
                    rx.el.a("another clip", href=f"/clips/{Clip.clip.parent_id}"),
                    class_name="clip-parent",
                ),
            ),
            rx.cond(
                Clip.clip.params.length() > 0,
                rx.el.dl(rx.foreach(Clip.clip.params, _parameter), class_name="params"),
            ),
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
    return rx.fragment(rx.el.h1("Clip", class_name="off-screen"), _skeleton())


def _skeleton() -> rx.Component:
    return rx.el.div(
        rx.el.div(rx.el.div(class_name="skeleton skeleton-screen"), class_name="clip-screen"),
        rx.el.div(*(rx.el.div(class_name="skeleton skeleton-row") for _ in range(4)), class_name="clip-side"),
        class_name="clip",
        aria_hidden="true",
    )


def _beside(clip_id: Any, label: str, name: str, key: str) -> rx.Component:
    return rx.cond(
        clip_id != "",
        rx.el.a(
            icon(name),
            href=f"/clips/{clip_id}",
            class_name="icon-button",
            aria_label=label,
            title=f"{label}  {key}",
            custom_attrs={"data-page-verb": name},
        ),
        rx.el.span(icon(name), class_name="icon-button beside-none", aria_hidden="true"),
    )


def _way_back() -> rx.Component:
    return rx.el.div(
        rx.el.a(
            icon("left"),
            "Gallery",
            href="/gallery",
            class_name="way-back",
            custom_attrs={"data-page-verb": "back"},
        ),
        rx.el.div(
            _beside(Clip.clip.newer_id, "Newer clip", "left", "←"),
            _beside(Clip.clip.older_id, "Older clip", "right", "→"),
            icon_button("help", "Keys", class_name="keys-button", custom_attrs={"data-opens": "keys-help"}),
            class_name="head-side",
        ),
        class_name="clip-head",
    )


def clip_page() -> rx.Component:
    """One clip."""
    return shell(
        "",
        rx.cond(
            Clip.missing,
            empty(
                "No such clip",
                "It was deleted, or it belongs to somebody else.",
                link_button("To the gallery", "/gallery", tone="primary"),
                whole_page=True,
            ),
            rx.cond(Clip.clip.id != "", _filled(), _waiting()),
        ),
        stop_dialog(),
        dialog(
            "delete-clip",
            "Delete this clip?",
            rx.el.p("The video and its pictures are removed for good. What it cost is not given back."),
            rx.el.div(
                button("Keep it", custom_attrs={"data-closes": ""}),
                button("Delete", tone="danger", on_click=Clip.delete),
                class_name="dialog-verbs",
            ),
        ),
        keys_help(_KEYS),
        head=_way_back(),
        within="/gallery",
        class_name="room-clip",
    )
