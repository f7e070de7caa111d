"""The stage: one job shown large while it is made, its preview sharpening, until the clip plays in its place."""

from typing import Any

import reflex as rx

from frontend.components.connection import while_connected
from frontend.components.controls import button, icon, link_button
from frontend.components.elements import clip_poster, inline_style, ring
from frontend.components.strips import preview


def live_screen(job: Any) -> rx.Component:
    """The picture of a job: what can be seen of it already."""
    return rx.el.div(
        preview(job),
        class_name="live-preview",
        custom_attrs=inline_style(__sharp=job.percent),
    )


def live_words(job: Any) -> rx.Component:
    """Where a job stands: the ring, the step or the place, and when it will be there."""
    return rx.el.div(
        ring(job.percent, idle=job.step == 0, label=job.headline),
        rx.el.div(
            rx.el.p(job.headline, class_name="live-headline"),
            rx.el.p(while_connected(job.detail), class_name="live-detail"),
        ),
        class_name="live-where",
    )


def stage(job: Any, clip: Any, *, cancel: Any, behind: rx.Component) -> rx.Component:
    """The job, or the clip that it became, in one frame. `behind` lists what comes next."""
    has_clip = clip.id != ""
    return rx.el.section(
        rx.el.a(
            rx.cond(
                has_clip,
                clip_poster(poster=clip.poster_url, src=clip.video_url, plays_at_once=True),
                live_screen(job),
            ),
            href=rx.cond(has_clip, f"/clips/{clip.id}", f"/clips/{job.id}"),
            class_name="live-screen",
            aria_label=rx.cond(has_clip, f"Ready: {clip.prompt}", f"{job.headline}: {job.prompt}"),
            custom_attrs={"data-tile": rx.cond(has_clip, clip.id, "")},
        ),
        rx.el.div(
            rx.el.p(rx.cond(has_clip, clip.prompt, job.prompt), class_name="live-prompt"),
            rx.cond(
                has_clip,
                rx.el.div(
                    rx.el.p(icon("check"), "Ready", class_name="live-ready"),
                    rx.el.div(
                        link_button("Open", f"/clips/{clip.id}"),
                        rx.el.a(
                            icon("download"),
                            rx.el.span("Download"),
                            href=clip.download_url,
                            download=True,
                            # Not a page of ours: the browser asks for it, not the router.
                            reload_document=True,
                            class_name="button button-plain",
                        ),
                        class_name="live-verbs",
                    ),
                ),
                rx.fragment(
                    live_words(job),
                    rx.el.p(job.facts, class_name="live-facts"),
                    rx.cond(
                        job.can_cancel,
                        rx.el.div(
                            button(
                                rx.cond(job.step > 0, "Stop", "Cancel"),
                                icon_name="close",
                                on_click=cancel,
                                aria_label=f"Cancel: {job.prompt}",
                                custom_attrs={"data-job": job.id},
                            ),
                            class_name="live-verbs",
                        ),
                    ),
                ),
            ),
            behind,
            class_name="live-side",
        ),
        id="now",
        class_name="live",
        aria_label="In progress",
        custom_attrs={
            "data-stage": rx.cond(has_clip, clip.id, job.id),
            **inline_style(__grow=rx.cond(has_clip, clip.grow, job.grow)),
        },
    )
