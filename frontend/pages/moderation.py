"""Moderation: queue, evidence, decision. Grey, blurred first, everything by keys."""

from typing import Any

import reflex as rx

from frontend.components.controls import button, icon, icon_button
from frontend.components.elements import inline_style, player, time_ago
from frontend.components.faces import empty, failed, skeleton_rows
from frontend.components.keys_help import keys_help
from frontend.layouts.shell import shell
from frontend.states.browser import with_fields
from frontend.states.moderation import MOST_NOTE_CHARS, Moderation

_KEYS = (
    ("space", "show or blur"),
    ("g", "with or without colours"),
    ("a", "allow"),
    ("b", "block"),
    ("n", "write a note"),
    ("s", "skip to the next"),
    ("z", "undo the last allow"),
    ("j  k", "next, previous in the queue"),
    ("?", "this list"),
)


def _queued(case: Any) -> rx.Component:
    return rx.el.li(
        rx.el.button(
            rx.el.span(
                rx.cond(
                    (case.id == Moderation.case.id) & (Moderation.case.poster_url != ""),
                    rx.el.img(src=Moderation.case.poster_url, alt=""),
                    rx.cond(case.subject == "Clip", icon("play"), icon("create")),
                ),
                class_name="case-picture",
                aria_hidden="true",
            ),
            rx.el.span(
                rx.el.span(case.reason, class_name="case-reason"),
                rx.el.span(case.prompt, class_name="case-prompt"),
                rx.el.span(case.subject, " ", time_ago(case.waiting_since), class_name="case-facts"),
                class_name="case-words",
            ),
            type="button",
            on_click=Moderation.take(case.id),
            class_name="case",
            aria_current=rx.cond(case.id == Moderation.case.id, "true", "false"),
            custom_attrs={"data-tile-link": ""},
        ),
        custom_attrs={"data-tile": case.id},
    )


def _score(score: Any) -> rx.Component:
    return rx.el.li(
        rx.el.span(score.what, class_name="score-what"),
        rx.cond(
            score.at_s != "",
            rx.el.button(
                score.where,
                type="button",
                class_name="score-where",
                title="Show this frame",
                custom_attrs={"data-seek": score.at_s},
            ),
            rx.el.span(score.where, class_name="score-where"),
        ),
        rx.el.span(
            rx.el.i(class_name="score-bar"),
            rx.el.i(class_name="score-limit"),
            class_name=rx.cond(score.over, "score-track over", "score-track"),
            custom_attrs=inline_style(__score=score.percent, __limit=score.threshold),
            aria_hidden="true",
        ),
        rx.el.span(
            rx.el.strong(score.percent), " of 100, threshold ", score.threshold, class_name="score-numbers"
        ),
        class_name="score",
    )


def _scores() -> rx.Component:
    return rx.cond(
        Moderation.case.scores.length() > 0,
        rx.el.section(
            rx.el.h2("What the classifier found", class_name="section-title"),
            rx.el.ul(rx.foreach(Moderation.case.scores, _score), class_name="scores"),
            class_name="scores-room",
        ),
    )


def _evidence_class() -> Any:
    return rx.cond(
        Moderation.revealed,
        rx.cond(Moderation.grey, "evidence-screen greyed", "evidence-screen"),
        "evidence-screen greyed blurred",
    )


def _evidence() -> rx.Component:
    return rx.el.section(
        rx.el.div(
            rx.cond(
                Moderation.case.video_url != "",
                player(
                    src=Moderation.case.video_url,
                    poster=Moderation.case.poster_url,
                    fps=Moderation.case.fps,
                    frames=0,
                    label="Evidence",
                ),
                rx.cond(
                    Moderation.case.images.length() > 0,
                    rx.el.div(
                        rx.foreach(
                            Moderation.case.images,
                            lambda image: rx.el.img(src=image, alt="Image that was given"),
                        ),
                        class_name="evidence-images",
                    ),
                    rx.el.p("There is no picture: the words themselves are the case.", class_name="none"),
                ),
            ),
            class_name=_evidence_class(),
        ),
        rx.el.div(
            button(
                rx.cond(Moderation.revealed, "Blur", "Show"),
                icon_name="moderation",
                on_click=Moderation.reveal,
                custom_attrs={"data-page-verb": "reveal"},
            ),
            button(
                "Without colours",
                icon_name="grey",
                tone="quiet",
                on_click=Moderation.toggle_grey,
                aria_pressed=rx.cond(Moderation.grey, "true", "false"),
                custom_attrs={"data-page-verb": "grey"},
            ),
            class_name="evidence-verbs",
        ),
        _scores(),
        class_name="evidence",
        aria_label="Evidence",
    )


def _decision() -> rx.Component:
    return rx.el.section(
        rx.el.dl(
            rx.el.div(rx.el.dt("Prompt"), rx.el.dd(Moderation.case.prompt), class_name="param-long"),
            rx.el.div(rx.el.dt("Held because"), rx.el.dd(Moderation.case.reason)),
            rx.el.div(rx.el.dt("Model"), rx.el.dd(Moderation.case.model)),
            rx.el.div(rx.el.dt("Waiting since"), rx.el.dd(time_ago(Moderation.case.waiting_since))),
            rx.el.div(
                rx.el.dt("Clip"),
                rx.el.dd(
                    rx.el.span(Moderation.case.job_id, class_name="mono"),
                    icon_button(
                        "copy",
                        "Copy the clip's id",
                        class_name="copy",
                        custom_attrs={"data-copies": Moderation.case.job_id, "data-copied": "Id copied"},
                    ),
                    class_name="case-id",
                ),
                class_name="param-long",
            ),
            class_name="facts",
        ),
        rx.el.form(
            rx.el.input(type="hidden", name="case_id", value=Moderation.case.id),
            rx.el.label("Note", html_for="note", class_name="field-label"),
            rx.el.textarea(
                id="note",
                name="note",
                rows="3",
                max_length=MOST_NOTE_CHARS,
                class_name="input",
                placeholder="For the record; the owner does not see it",
            ),
            rx.el.div(
                button(
                    "Allow",
                    icon_name="check",
                    on_click=with_fields("#decision", Moderation.allow),
                    custom_attrs={"data-page-verb": "allow"},
                ),
                button(
                    "Block",
                    icon_name="blocked",
                    on_click=with_fields("#decision", Moderation.block),
                    custom_attrs={"data-page-verb": "block"},
                ),
                icon_button(
                    "right",
                    "Skip to the next",
                    on_click=Moderation.skip,
                    custom_attrs={"data-page-verb": "skip"},
                ),
                class_name="decision-verbs",
            ),
            id="decision",
            class_name="decision-form",
        ),
        button(
            "Write a note",
            class_name="off-stage",
            tab_index=-1,
            aria_hidden="true",
            # Not through the page's queue of events: what is typed next must not be taken for keys that decide.
            custom_attrs={"data-page-verb": "note", "data-focuses": "#note"},
        ),
        class_name="decision",
        aria_label="Decision",
    )


def _undo() -> rx.Component:
    """Pressed by a key and by the notice; also when the case that was allowed was the last one."""
    return rx.el.div(
        button(
            "Undo the last allow",
            class_name="off-stage",
            tab_index=-1,
            aria_hidden="true",
            on_click=Moderation.undo,
            custom_attrs={"data-page-verb": "undo"},
        ),
        custom_attrs={"data-keys": ""},
    )


def moderation_page() -> rx.Component:
    """The moderators' room."""
    return shell(
        "Moderation",
        rx.cond(
            Moderation.queue_trouble != "",
            failed(Moderation.queue_trouble, again=Moderation.open),
            rx.cond(
                Moderation.read,
                rx.cond(
                    Moderation.cases.length() > 0,
                    rx.el.div(
                        rx.el.section(
                            rx.el.h2(Moderation.cases.length(), " waiting", class_name="section-title"),
                            rx.el.ul(rx.foreach(Moderation.cases, _queued), class_name="queue"),
                            class_name="queue-room",
                            aria_label="Queue",
                        ),
                        _evidence(),
                        _decision(),
                        class_name="bench",
                        custom_attrs={"data-keys": ""},
                    ),
                    empty(
                        "The queue is empty", "New cases appear by themselves. You can leave this page open."
                    ),
                ),
                skeleton_rows(4),
            ),
        ),
        _undo(),
        keys_help(_KEYS),
        head=rx.el.div(
            rx.cond(
                Moderation.decided > 0, rx.el.p(Moderation.decided, " decided", class_name="quiet-words")
            ),
            icon_button("help", "Keys", custom_attrs={"data-opens": "keys-help"}),
            class_name="head-side",
        ),
        here="/moderation",
        class_name="grey-room room-moderation",
    )
