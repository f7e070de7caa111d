"""How to connect a real model, for whoever has a GPU: the README's section, with what it takes to copy."""

import reflex as rx

from frontend.components.controls import icon_button
from frontend.layouts.shell import shell
from frontend.states.session import Session

_WORKER = """ZOETROPE_REDIS_URL=redis://studio:6379/0 \\
ZOETROPE_CONTROL_URL=https://studio.example.org \\
ZOETROPE_WORKER_ID=gpu-1 ZOETROPE_DEVICE=cuda \\
.venv/bin/zoetrope worker"""


def _command(text: str) -> rx.Component:
    return rx.el.div(
        rx.el.pre(rx.el.code(text)),
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
                rx.el.h2("Describe the model"),
                rx.el.p(
                    "A model is one recipe file in ",
                    rx.el.code("backend/recipes/"),
                    ": where its weights are, which sizes, lengths and steps it offers, what it costs. One line in the "
                    "catalogue adds it.",
                ),
            ),
            rx.el.li(
                rx.el.h2("Put the weights on the GPU host"),
                rx.el.p("Where the recipe says. The web and control processes never load them."),
            ),
            rx.el.li(
                rx.el.h2("Start a worker there"),
                rx.el.p("It needs Valkey and the studio’s address, and no database password."),
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
