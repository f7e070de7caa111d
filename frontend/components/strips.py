"""A strip a job: the preview that sharpens, where it stands in words, progress as a ring of slits."""

from typing import Any

import reflex as rx

from frontend.components.controls import button, icon, icon_button
from frontend.components.elements import inline_style, ring, time_ago
from frontend.components.mark import mark


def job_strip(job: Any, *, cancel: Any) -> rx.Component:
    """A job on its way."""
    return rx.el.li(
        rx.el.div(
            rx.cond(job.preview_url, rx.el.img(src=job.preview_url, alt=""), mark("mark mark-still")),
            class_name="strip-frame",
            custom_attrs=inline_style(__aspect=job.aspect, __sharp=job.percent),
        ),
        rx.el.div(
            rx.el.p(job.prompt, class_name="strip-prompt"),
            rx.el.p(job.facts, time_ago(job.created_at), class_name="strip-facts"),
            class_name="strip-what",
        ),
        rx.el.div(
            rx.el.p(job.headline, class_name="strip-headline"),
            rx.el.p(job.detail, class_name="strip-detail"),
            class_name="strip-where",
        ),
        ring(job.percent, idle=job.step == 0, label=job.headline),
        rx.cond(
            job.can_cancel,
            icon_button(
                "close",
                f"Cancel: {job.prompt}",
                on_click=cancel,
                class_name="strip-cancel",
                custom_attrs={"data-job": job.id},
            ),
            rx.el.span(class_name="strip-cancel"),
        ),
        class_name="strip",
    )


def ended_strip(job: Any, *, retry: Any, remove: Any) -> rx.Component:
    """A job that ended without a clip: why, what it cost, and what to do."""
    return rx.el.li(
        rx.el.div(
            rx.cond(job.went_wrong, icon("warning"), icon("stop")),
            class_name="strip-frame strip-frame-ended",
        ),
        rx.el.div(
            rx.el.p(job.prompt, class_name="strip-prompt"),
            rx.el.p(job.facts, time_ago(job.created_at), class_name="strip-facts"),
            class_name="strip-what",
        ),
        rx.el.div(
            rx.el.p(
                job.headline,
                class_name=rx.cond(job.went_wrong, "strip-headline strip-wrong", "strip-headline"),
            ),
            rx.el.p(
                job.detail, " ", rx.el.span(job.charge, class_name="strip-charge"), class_name="strip-detail"
            ),
            class_name="strip-where",
        ),
        rx.el.div(
            rx.cond(
                job.can_retry,
                button("Try again", icon_name="again", on_click=retry, custom_attrs={"data-retry": job.id}),
            ),
            icon_button("close", f"Remove: {job.prompt}", on_click=remove),
            class_name="strip-verbs",
        ),
        class_name="strip strip-ended",
    )
