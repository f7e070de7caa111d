"""A strip a job: the preview that sharpens, where it stands in words, progress as a ring of slits."""

from typing import Any

import reflex as rx

from frontend.components.connection import while_connected
from frontend.components.controls import button, icon, icon_button
from frontend.components.elements import clip_poster, inline_style, ring, time_ago
from frontend.components.mark import mark


def preview(job: Any) -> rx.Component:
    """The newest preview frame, as soft as it is early, before the mark: that is seen while there is none, and turns
    while the job is at work."""
    return rx.fragment(
        rx.cond(job.at_work, mark("mark turning"), mark("mark mark-still")),
        rx.cond(
            job.preview_url,
            # Keyed: another job's picture is another one, not this one until that has come.
            rx.el.img(src=job.preview_url, alt="", key=job.id, custom_attrs={"data-preview": ""}),
        ),
    )


def cancel_button(job: Any, *, cancel: Any) -> rx.Component:
    """Stops a job; its place stays empty where it is too late."""
    return rx.cond(
        job.can_cancel,
        icon_button(
            "close",
            f"Cancel: {job.prompt}",
            on_click=cancel,
            class_name="strip-cancel",
            custom_attrs={"data-job": job.id},
        ),
        rx.el.span(class_name="strip-cancel"),
    )


def _what(prompt: Any, href: Any, *facts: Any) -> rx.Component:
    return rx.el.div(
        rx.el.a(prompt, href=href, class_name="strip-prompt"),
        rx.el.p(*facts, class_name="strip-facts"),
        class_name="strip-what",
    )


def _frame(job: Any, *children: Any) -> rx.Component:
    return rx.el.div(
        *children,
        class_name="strip-frame",
        custom_attrs=inline_style(__aspect=job.aspect, __sharp=job.percent),
    )


def job_strip(job: Any, *, cancel: Any) -> rx.Component:
    """A job on its way."""
    return rx.el.li(
        _frame(job, preview(job)),
        _what(job.prompt, f"/clips/{job.id}", job.facts, time_ago(job.created_at)),
        rx.el.div(
            rx.el.p(job.headline, class_name="strip-headline"),
            rx.el.p(while_connected(job.detail), class_name="strip-detail"),
            class_name="strip-where",
        ),
        ring(job.percent, idle=job.step == 0, label=job.headline),
        cancel_button(job, cancel=cancel),
        key=job.id,
        class_name="strip",
    )


def review_strip(job: Any, *, cancel: Any) -> rx.Component:
    """A job that a moderator has to decide about: nothing moves, so nothing turns."""
    return rx.el.li(
        rx.el.div(icon("clock"), class_name="strip-frame strip-frame-still"),
        _what(job.prompt, f"/clips/{job.id}", job.facts, time_ago(job.created_at)),
        rx.el.div(
            rx.el.p(job.headline, class_name="strip-headline"),
            rx.el.p(job.detail, class_name="strip-detail"),
            class_name="strip-where",
        ),
        rx.el.span(class_name="strip-ring"),
        cancel_button(job, cancel=cancel),
        key=job.id,
        class_name="strip",
    )


def ready_strip(clip: Any) -> rx.Component:
    """The clip that a job became while its page was open."""
    return rx.el.li(
        rx.el.div(
            # Seen until the poster is there.
            mark("mark mark-still"),
            clip_poster(poster=clip.poster_url, src=clip.video_url),
            class_name="strip-frame strip-frame-ready",
            custom_attrs=inline_style(__aspect=clip.aspect),
        ),
        _what(clip.prompt, f"/clips/{clip.id}", clip.model, time_ago(clip.created_at)),
        rx.el.div(
            rx.el.p(icon("check"), "Ready", class_name="strip-headline strip-ready-words"),
            class_name="strip-where",
        ),
        ring(100, label="Ready"),
        rx.el.a(
            icon("right"),
            href=f"/clips/{clip.id}",
            class_name="icon-button strip-cancel",
            aria_label=f"Open: {clip.prompt}",
        ),
        key=clip.id,
        class_name="strip strip-ready",
        custom_attrs={"data-tile": clip.id},
    )


def ended_line(job: Any, *, retry: Any, remove: Any) -> rx.Component:
    """A job that ended without a clip, in one line: why, what it cost, and what to do."""
    return rx.el.li(
        rx.cond(job.went_wrong, icon("warning"), icon("stop")),
        rx.el.a(job.prompt, href=f"/clips/{job.id}", class_name="ended-prompt"),
        rx.el.span(job.short, class_name="ended-why", title=job.detail),
        rx.el.div(
            rx.cond(
                job.can_retry,
                button(
                    "Try again",
                    tone="quiet",
                    on_click=retry,
                    aria_label=f"Try again: {job.prompt}",
                    custom_attrs={"data-retry": job.id},
                ),
            ),
            icon_button("close", f"Remove: {job.prompt}", on_click=remove),
            class_name="ended-verbs",
        ),
        key=job.id,
        class_name="ended",
    )


def ended_lines(jobs: Any, *, line: Any, removing: str, open_: Any = False) -> rx.Component:
    """All jobs that ended without a clip, behind one line until somebody wants to see them.

    `removing`: the dialog that asks before all are removed.
    """
    return rx.cond(
        jobs.length() > 0,
        rx.el.details(
            rx.el.summary(
                icon("warning"),
                rx.el.span(
                    jobs.length(), " ended without a clip", class_name="asides-words", aria_live="polite"
                ),
                rx.el.span(class_name="asides-toggle", aria_hidden="true"),
            ),
            rx.el.ul(rx.foreach(jobs, line), class_name="ended-list"),
            button(
                "Remove all",
                tone="quiet",
                class_name="asides-clear",
                custom_attrs={"data-opens": removing},
            ),
            open=open_,
            class_name="asides",
        ),
    )
