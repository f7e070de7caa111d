"""The mark: a slit drum seen from above, a ring of twelve slits with one lit."""

import reflex as rx

_SLITS = 12


def mark(class_name: str = "mark", *, lit: int = 1) -> rx.Component:
    """The drum. Its class decides whether the lit slit goes round (`mark turning`)."""
    return rx.el.svg(
        *(
            rx.el.svg.rect(
                x="-1.5",
                y="-21",
                width="3",
                height="8",
                rx="0.75",
                class_name="slit lit" if index == lit else "slit",
                custom_attrs={"transform": f"rotate({index * 360 // _SLITS})", "style": {"--i": str(index)}},
            )
            for index in range(_SLITS)
        ),
        rx.el.svg.circle(cx="0", cy="0", r="2.25", class_name="pin"),
        view_box="-24 -24 48 48",
        class_name=class_name,
        aria_hidden="true",
    )


def loader(words: str = "Loading") -> rx.Component:
    """The drum at work, for what has no skeleton."""
    return rx.el.div(
        mark("mark turning"), rx.el.span(words, class_name="off-screen"), class_name="loader", role="status"
    )
