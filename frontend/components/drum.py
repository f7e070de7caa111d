"""The drum in front of the door: twelve frames of one clip behind twelve slits, and the clip they make."""

import reflex as rx

FRAMES = 12
PROMPT = "a red circle moving right on a blue background"
# The mini model's own red and blue: the picture is what that prompt gives.
_RED, _BLUE = "#e61e1e", "#2850e6"
_RING, _SIDE, _TRAVEL = 78, 25, 12


def _picture(x: float, *, side: float, class_name: str) -> list[rx.Component]:
    return [
        rx.el.svg.rect(
            x=str(-side / 2), y=str(-side / 2), width=str(side), height=str(side), rx="1.2", fill=_BLUE
        ),
        rx.el.svg.circle(cx=f"{x:.2f}", cy="0", r=f"{side * 0.19:.2f}", fill=_RED, class_name=class_name),
    ]


def _frame(index: int) -> rx.Component:
    x = -_TRAVEL / 2 + _TRAVEL * index / (FRAMES - 1)
    turn = index * 360 // FRAMES
    return rx.el.svg.g(
        *_picture(x, side=_SIDE, class_name=""),
        class_name="drum-frame",
        custom_attrs={"transform": f"rotate({turn}) translate(0 {-_RING})", "style": {"--i": str(index)}},
    )


def drum() -> rx.Component:
    """Frames go round; in the middle they are one moving picture."""
    return rx.el.figure(
        rx.el.svg(
            *(_frame(index) for index in range(FRAMES)),
            rx.el.svg.g(*_picture(0, side=66, class_name="drum-moving")),
            view_box="-96 -96 192 192",
            class_name="drum",
            aria_hidden="true",
        ),
        rx.el.figcaption(
            rx.el.span(f"“{PROMPT}”", class_name="drum-prompt"),
            rx.el.span("Write a prompt, watch it sharpen, keep the clip."),
            class_name="drum-words",
        ),
        class_name="drum-room",
    )
