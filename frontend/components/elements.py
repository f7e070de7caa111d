"""The studio's custom elements (assets/js), as Reflex components: attributes in, everything else in the browser."""

from typing import Any

import reflex as rx
from reflex_components_core.el.elements.base import BaseHTML


# Reflex names its memo functions after the tag, which a hyphen would break: the alias is what is rendered.
class TimeElement(BaseHTML):
    """<z-time>."""

    tag = "TimeElement"
    alias = "z-time"


class RingElement(BaseHTML):
    """<z-ring>."""

    tag = "RingElement"
    alias = "z-ring"


class ClipElement(BaseHTML):
    """<z-clip>."""

    tag = "ClipElement"
    alias = "z-clip"


class PlayerElement(BaseHTML):
    """<z-player>."""

    tag = "PlayerElement"
    alias = "z-player"


class WallElement(BaseHTML):
    """<z-wall>."""

    tag = "WallElement"
    alias = "z-wall"


class ThemeElement(BaseHTML):
    """<z-theme>."""

    tag = "ThemeElement"
    alias = "z-theme"


class DropElement(BaseHTML):
    """<z-drop>."""

    tag = "DropElement"
    alias = "z-drop"


class AwayElement(BaseHTML):
    """<z-away>."""

    tag = "AwayElement"
    alias = "z-away"


class HeardElement(BaseHTML):
    """<z-heard>."""

    tag = "HeardElement"
    alias = "z-heard"


class LastSeenElement(BaseHTML):
    """<z-last-seen>."""

    tag = "LastSeenElement"
    alias = "z-last-seen"


def inline_style(**properties: Any) -> dict[str, Any]:
    """A `style` attribute of CSS properties, `_` for `-`: names that start with `__` are custom properties.

    As one Var, because Reflex collects the state behind a Var, not behind a dict in `custom_attrs`.
    """
    named = {
        name.replace("_", "-") if name.startswith("__") else name: value for name, value in properties.items()
    }
    return {"style": rx.Var.create(named)}


def time_ago(at: rx.Var[str] | str) -> rx.Component:
    """A moment as "3 min ago", kept true by the browser."""
    return TimeElement.create(custom_attrs={"datetime": at})


def ring(
    percent: rx.Var[int] | int, *, idle: rx.Var[bool] | bool = False, label: Any = "Progress"
) -> rx.Component:
    """Progress as a ring of slits, 0 to 100. `idle`: nothing moves yet."""
    return RingElement.create(
        role="progressbar",
        custom_attrs={
            "value": percent,
            "idle": rx.cond(idle, "true", "false"),
            "aria-valuenow": percent,
            "aria-valuemin": "0",
            "aria-valuemax": "100",
            "aria-label": label,
        },
    )


def clip_poster(*, poster: Any, src: Any, plays_at_once: bool = False) -> rx.Component:
    """A poster that plays while its tile is pointed at or focused; or at once, and for as long as it is there."""
    return ClipElement.create(
        custom_attrs={"poster": poster, "src": src, **({"always": ""} if plays_at_once else {})}
    )


def justified(*children: rx.Component, class_name: str, whole_rows: Any = False) -> rx.Component:
    """A wall of tiles (`data-tile`, with `--grow` as width over height) in rows of one height: all, or whole ones."""
    return WallElement.create(
        *children, class_name=class_name, custom_attrs={"rows": rx.cond(whole_rows, "whole", "all")}
    )


def player(*, src: Any, poster: Any, fps: Any, frames: Any, label: Any) -> rx.Component:
    """A player with a scrubber of slits, frame stepping, loop and speed."""
    return PlayerElement.create(
        custom_attrs={"src": src, "poster": poster, "fps": fps, "frames": frames, "label": label}
    )


def theme_choice() -> rx.Component:
    """Light, dark or as the system, as chips."""
    choices = (("system", "As the system"), ("light", "Light"), ("dark", "Dark"))
    return ThemeElement.create(
        *(
            rx.el.button(label, type="button", class_name="chip", custom_attrs={"data-theme-choice": theme})
            for theme, label in choices
        ),
        role="group",
        custom_attrs={"aria-label": "Light or dark"},
    )


def image_drop(*, most_bytes: int) -> rx.Component:
    """The place for a first frame: drop, paste or choose. Its form gets the id as `image_id`."""
    return DropElement.create(custom_attrs={"most": str(most_bytes)})
