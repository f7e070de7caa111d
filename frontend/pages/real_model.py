"""How to connect a real model, for whoever has a GPU: the README's section, with what it takes to copy."""

import reflex as rx

from frontend.components.controls import icon_button
from frontend.layouts.shell import shell
from frontend.states.session import Session

_PULL = """.venv/bin/zoetrope models list
.venv/bin/zoetrope models pull wan-2.1-1.3b"""
_ADD = ".venv/bin/zoetrope workers add gpu-1"
_WORKER = "ZOETROPE_DEVICE=cuda .venv/bin/zoetrope worker"


def _command(text: str) -> rx.Component:
    return rx.el.div(
        rx.el.pre(*(rx.el.code(line) for line in text.splitlines())),
        icon_button("copy", "Copy", custom_attrs={"data-copies": text, "data-copied": "Command copied"}),
        class_name="command",
    )


def real_model_page() -> rx.Component:
    """Three steps from a GPU to a model that everybody here can choose."""
    return shell(
        "Connect a real model",
        rx.el.p(
            "The embedded model draws shapes, so that the studio runs on any machine. For the rest of the world, "
            "connect a GPU with a diffusers video model.",
            class_name="page-words",
        ),
        rx.el.ol(
            rx.el.li(
                rx.el.h2("Fetch a model on the machine with the GPU"),
                rx.el.p(
                    "Wan and LTX-Video are in the catalogue, with the card and the disk that each takes."
                ),
                _command(_PULL),
            ),
            rx.el.li(
                rx.el.h2("Let that machine in"),
                rx.el.p(
                    "If the studio runs there, you are done. If not, this makes a pass for its worker and prints "
                    "three settings. It needs no database password.",
                ),
                _command(_ADD),
            ),
            rx.el.li(
                rx.el.h2("Start its worker"),
                rx.el.p("With those settings, on the machine with the GPU."),
                _command(_WORKER),
            ),
            class_name="how-to",
        ),
        rx.el.p(
            "Everybody can choose the model as soon as a worker serves it. The README says more, under “A real model "
            "on a GPU”.",
            class_name="page-words",
        ),
        rx.cond(Session.account.signed_in, rx.el.a("Back to Create", href="/", class_name="quiet-link")),
        class_name="room-how-to",
    )
