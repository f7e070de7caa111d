"""In progress: a strip a job, live."""

import reflex as rx

from frontend.components.controls import button, dialog, link_button
from frontend.components.faces import empty, failed, skeleton_rows
from frontend.components.strips import ended_strip, job_strip
from frontend.layouts.shell import shell
from frontend.states.jobs import Jobs


def stop_dialog() -> rx.Component:
    """Asks before a job is stopped whose steps cost something."""
    return dialog(
        "stop-job",
        "Stop this job?",
        rx.el.p(Jobs.stopping_words),
        rx.el.div(
            button("Let it go on", custom_attrs={"data-closes": ""}),
            button("Stop it", tone="danger", on_click=Jobs.cancel(Jobs.stopping)),
            class_name="dialog-verbs",
        ),
    )


def _lists() -> rx.Component:
    return rx.cond(
        Jobs.jobs.length() > 0,
        rx.fragment(
            rx.el.ul(
                rx.foreach(Jobs.on_their_way, lambda job: job_strip(job, cancel=Jobs.ask_to_cancel(job.id))),
                class_name="strips",
            ),
            rx.cond(
                Jobs.ended_lately.length() > 0,
                rx.el.section(
                    rx.el.h2("Ended without a clip", class_name="section-title"),
                    rx.el.ul(
                        rx.foreach(
                            Jobs.ended_lately,
                            lambda job: ended_strip(
                                job, retry=Jobs.retry(job.id), remove=Jobs.remove(job.id)
                            ),
                        ),
                        class_name="strips",
                    ),
                    class_name="section",
                ),
            ),
        ),
        empty(
            "Nothing is on its way",
            "A job shows here as soon as you send it: its place in the queue, each step, the frame as it sharpens.",
            link_button("Write a prompt", "/", tone="primary"),
        ),
    )


def progress_page() -> rx.Component:
    """All jobs on their way, then those that ended without a clip."""
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
