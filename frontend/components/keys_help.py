"""The sheet that lists a room's keys."""

from collections.abc import Sequence

import reflex as rx

from frontend.components.controls import dialog


def keys_help(keys: Sequence[tuple[str, str]]) -> rx.Component:
    """Keys and what they do, in a dialog that `?` opens."""
    return dialog(
        "keys-help",
        "Keys",
        rx.el.dl(
            *(
                rx.el.div(
                    rx.el.dt(*(rx.el.kbd(key) for key in keystrokes.split())),
                    rx.el.dd(meaning),
                )
                for keystrokes, meaning in keys
            ),
            class_name="keys-list",
        ),
        class_name="dialog-narrow",
    )
