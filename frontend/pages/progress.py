"""In progress: a strip a job, live; a row becomes its clip. Then what waits for a moderator, and what ended."""

from typing import Any

import reflex as rx

from frontend.components.controls import button, dialog, link_button
from frontend.components.faces import empty, failed, skeleton_rows
from frontend.components.strips import ended_line, ended_lines, job_strip, ready_strip, review_strip
from frontend.gateway import MOST_UNDER_WAY
from frontend.layouts.shell import shell
from frontend.states.jobs import Jobs


def stop_dialog() -> rx.Component:
    """Asks before a job is stopped whose steps cost something; follows it while it is open."""
    return dialog(
        "stop-job",
        rx.cond(Jobs.can_stop, "Stop this job?", "Too late to stop it"),
        rx.el.p(Jobs.stopping_words, aria_live="polite"),
        rx.el.div(
            button(rx.cond(Jobs.can_stop, "Keep it running", "Close"), custom_attrs={"data-closes": ""}),
            rx.cond(
                Jobs.can_stop,
                button(
                    "Stop it",
                    tone="danger",
                    on_click=Jobs.cancel(Jobs.stopping, Jobs.stopping_steps),
                    # At once: a second press would be for nothing.
                    custom_attrs={"data-closes": ""},
                ),
            ),
            class_name="dialog-verbs",
        ),
    )


def ended_jobs(*, open_: Any = False) -> rx.Component:
    """What ended without a clip, folded into one line."""

    def line(job: Any) -> rx.Component:
        return ended_line(job, retry=Jobs.retry(job.id), remove=Jobs.remove(job.id))

    return rx.fragment(
        ended_lines(Jobs.ended_lately, line=line, removing="remove-ended", open_=open_),
        _remove_dialog(),
    )


def _remove_dialog() -> rx.Component:
    many = Jobs.ended_lately.length()
    return dialog(
        "remove-ended",
        rx.cond(many == 1, "Remove this job?", f"Remove these {many} jobs?"),
        rx.el.p("What was asked for goes for good. A receipt of what was charged stays in your account."),
        rx.el.div(
            button("Keep", custom_attrs={"data-closes": ""}),
            button("Remove", tone="danger", on_click=Jobs.remove_all, custom_attrs={"data-closes": ""}),
            class_name="dialog-verbs",
        ),
    )


def _strip(job: Any) -> rx.Component:
    return job_strip(job, cancel=Jobs.ask_to_cancel(job.id))


def _in_review() -> rx.Component:
    return rx.cond(
        Jobs.in_review.length() > 0,
        rx.el.section(
            rx.el.h2("With a moderator", class_name="section-title"),
            rx.el.ul(
                rx.foreach(Jobs.in_review, lambda job: review_strip(job, cancel=Jobs.ask_to_cancel(job.id))),
                class_name="strips",
            ),
            class_name="section",
        ),
    )


def _lists() -> rx.Component:
    return rx.fragment(
        rx.cond(
            (Jobs.on_their_way.length() > 0) | (Jobs.fresh.length() > 0),
            rx.el.ul(
                rx.foreach(Jobs.fresh, ready_strip),
                rx.foreach(Jobs.on_their_way, _strip),
                class_name="strips",
            ),
            rx.cond(
                Jobs.in_review.length() > 0,
                rx.el.p("Nothing else is on its way.", class_name="quiet-words"),
                empty(
                    "Nothing is on its way",
                    "Send a prompt and follow it here: its place in the queue, each step, the picture as it sharpens.",
                    link_button("Write a prompt", "/", tone="primary"),
                ),
            ),
        ),
        rx.cond(
            Jobs.more_wait,
            rx.el.p(
                f"These are the first {MOST_UNDER_WAY}. What waits behind them is listed as they end.",
                class_name="quiet-words",
            ),
        ),
        _in_review(),
        ended_jobs(open_=True),
    )


def progress_page() -> rx.Component:
    """All jobs on their way, then those in review, then those that ended without a clip."""
    return shell(
        "In progress",
        rx.cond(
            Jobs.trouble != "",
            failed(Jobs.trouble, again=Jobs.load),
            rx.cond(Jobs.loaded, _lists(), skeleton_rows(3)),
        ),
        stop_dialog(),
        here="/progress",
        class_name="room-progress",
    )
