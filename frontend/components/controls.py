"""Buttons, fields, chips and menus: the quiet furniture of every room."""

from typing import Any, Literal

import reflex as rx

Tone = Literal["primary", "plain", "quiet", "danger"]


def icon(name: str | rx.Var[str]) -> rx.Component:
    """A stroke icon from the sprite. Always beside words, or inside a button that has a name."""
    return rx.el.svg(rx.el.svg.use(href=f"/icons.svg#{name}"), class_name="icon", aria_hidden="true")


def button(
    label: Any, *, tone: Tone = "plain", icon_name: str = "", class_name: str = "", **props: Any
) -> rx.Component:
    """A button with words. One primary a page."""
    props.setdefault("type", "button")
    return rx.el.button(
        *([icon(icon_name)] if icon_name else []),
        rx.el.span(label),
        class_name=f"button button-{tone} {class_name}".strip(),
        **props,
    )


def icon_button(name: str, label: Any, *, class_name: str = "", **props: Any) -> rx.Component:
    """A button that is only an icon; `label` is its name and its tooltip."""
    props.setdefault("type", "button")
    return rx.el.button(
        icon(name),
        aria_label=label,
        title=label,
        class_name=f"icon-button {class_name}".strip(),
        **props,
    )


def link_button(
    label: Any, href: Any, *, tone: Tone = "plain", icon_name: str = "", **props: Any
) -> rx.Component:
    """A link that looks like a button, because it goes somewhere."""
    return rx.el.a(
        *([icon(icon_name)] if icon_name else []),
        rx.el.span(label),
        href=href,
        class_name=f"button button-{tone}",
        **props,
    )


def field(label: str, control: rx.Component, *, name: str, hint: Any = "", error: Any = None) -> rx.Component:
    """A labelled control with its hint and, beside it, what was wrong with it."""
    return rx.el.div(
        rx.el.label(label, html_for=name, class_name="field-label"),
        control,
        *([rx.el.p(hint, class_name="field-hint")] if not isinstance(hint, str) or hint else []),
        rx.el.p(
            *([error] if error is not None else []),
            class_name="field-error",
            role="alert",
            custom_attrs={"data-error": name},
        ),
        class_name="field",
    )


def text_input(name: str, *, kind: str = "text", **props: Any) -> rx.Component:
    """A one-line input named and identified by `name`."""
    return rx.el.input(id=name, name=name, type=kind, class_name="input", **props)


def choice(
    name: str, value: Any, label: Any, *, checked: Any, picture: rx.Component | None = None, **props: Any
) -> rx.Component:
    """One of a set of radios, drawn as a chip."""
    return rx.el.label(
        rx.el.input(
            type="radio", name=name, value=value, default_checked=checked, class_name="off-screen", **props
        ),
        *([picture] if picture is not None else []),
        rx.el.span(label),
        class_name="choice",
    )


def menu(label: Any, *items: rx.Component, class_name: str = "") -> rx.Component:
    """A small menu behind a summary; Escape and a click elsewhere close it."""
    return rx.el.details(
        rx.el.summary(label, icon("chevron"), class_name="menu-label"),
        rx.el.div(*items, class_name="menu-list"),
        class_name=f"menu {class_name}".strip(),
        custom_attrs={"data-menu": ""},
    )


def dialog(dialog_id: str, title: Any, *children: rx.Component, class_name: str = "") -> rx.Component:
    """A modal dialog, opened by `data-opens` or from a handler (see states.browser)."""
    return rx.el.dialog(
        rx.el.div(
            rx.el.header(
                rx.el.h2(title, id=f"{dialog_id}-title"),
                icon_button("close", "Close", custom_attrs={"data-closes": ""}),
                class_name="dialog-head",
            ),
            *children,
            class_name="dialog-body",
        ),
        id=dialog_id,
        class_name=f"dialog {class_name}".strip(),
        aria_labelledby=f"{dialog_id}-title",
    )
