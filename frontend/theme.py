"""Every colour, space and type size of the studio, in one place.

`python -m frontend.theme` writes them to assets/tokens.css as custom properties; the stylesheets use only those.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

TOKENS_CSS = Path(__file__).resolve().parent.parent / "assets" / "tokens.css"

# A dark projection room: warm near-black, levels told apart by lightness and a hairline.
DARK: Mapping[str, str] = MappingProxyType(
    {
        "ground": "#12100e",
        "raised": "#1a1714",
        "lifted": "#23201c",
        "hairline": "#2e2a25",
        "edge": "#7a7166",
        "ink": "#f4eee5",
        "ink-2": "#bdb3a6",
        "ink-3": "#978d81",
        "amber": "#f5ab35",
        "amber-hover": "#ffbd54",
        "amber-ink": "#f5b754",
        "on-amber": "#1c1203",
        "amber-wash": "#2b2114",
        "cool": "#8cc3da",
        "red": "#f08672",
        "red-wash": "#2d1a16",
        "green": "#8cc594",
        "green-wash": "#18241a",
        "scrim": "rgb(8 7 6 / 0.72)",
        "slit": "#3a352f",
    }
)
# The same room by day: paper, ink, the same hairlines.
LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "ground": "#f5f1e9",
        "raised": "#fbf8f2",
        "lifted": "#fffefb",
        "hairline": "#e0d9cc",
        "edge": "#857b6e",
        "ink": "#1d1813",
        "ink-2": "#4f473e",
        "ink-3": "#6a6156",
        "amber": "#f0a42c",
        "amber-hover": "#e5961a",
        "amber-ink": "#8a5200",
        "on-amber": "#1c1203",
        "amber-wash": "#f9ecd3",
        "cool": "#1f6584",
        "red": "#a8321c",
        "red-wash": "#f9e5df",
        "green": "#2b6a37",
        "green-wash": "#e3efe0",
        "scrim": "rgb(29 24 19 / 0.44)",
        "slit": "#d5ccbd",
    }
)
# Moderation is grey: hours of it must not tire, and nothing there asks to be liked.
DARK_GREY: Mapping[str, str] = MappingProxyType(
    {
        "ground": "#131313",
        "raised": "#1a1a1a",
        "lifted": "#222222",
        "hairline": "#2d2d2d",
        "edge": "#747474",
        "ink": "#eeeeee",
        "ink-2": "#b5b5b5",
        "ink-3": "#909090",
        "amber": "#d6d6d6",
        "amber-hover": "#f0f0f0",
        "amber-ink": "#d6d6d6",
        "on-amber": "#141414",
        "amber-wash": "#262626",
        "slit": "#383838",
    }
)
LIGHT_GREY: Mapping[str, str] = MappingProxyType(
    {
        "ground": "#f2f2f2",
        "raised": "#f9f9f9",
        "lifted": "#ffffff",
        "hairline": "#dcdcdc",
        "edge": "#7c7c7c",
        "ink": "#191919",
        "ink-2": "#494949",
        "ink-3": "#636363",
        "amber": "#2c2c2c",
        "amber-hover": "#000000",
        "amber-ink": "#2c2c2c",
        "on-amber": "#ffffff",
        "amber-wash": "#e9e9e9",
        "slit": "#d0d0d0",
    }
)

FONT_SANS = '"Commissioner", "Segoe UI", "Helvetica Neue", sans-serif'
FONT_MONO = '"Spline Sans Mono", ui-monospace, "Cascadia Mono", monospace'

# Six sizes, in rem of 16 px: caption, small, body, prompt, title, display.
TYPE_SCALE: Mapping[str, str] = MappingProxyType(
    {
        "text-1": "0.75rem",
        "text-2": "0.8125rem",
        "text-3": "0.9375rem",
        "text-4": "1.1875rem",
        "text-5": "1.5rem",
        "text-6": "2.125rem",
    }
)
# 4 px steps.
SPACE: Mapping[str, str] = MappingProxyType(
    {f"s{n}": f"{n * 0.25:g}rem" for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)}
)
RADII: Mapping[str, str] = MappingProxyType({"radius-1": "3px", "radius-2": "6px", "radius-3": "10px"})
MOTION: Mapping[str, str] = MappingProxyType(
    {"quick": "120ms", "calm": "180ms", "ease": "cubic-bezier(0.2, 0.7, 0.3, 1)"}
)

# Text colours with the grounds they stand on and the contrast (WCAG 2) each must keep.
AAA, AA, GRAPHIC = 7.0, 4.5, 3.0
CONTRAST: tuple[tuple[str, str, float], ...] = (
    *(("ink", ground, AAA) for ground in ("ground", "raised", "lifted")),
    *(("ink-2", ground, AAA) for ground in ("ground", "raised")),
    *(("ink-3", ground, AA) for ground in ("ground", "raised", "lifted")),
    *(("amber-ink", ground, AA) for ground in ("ground", "raised", "lifted", "amber-wash")),
    ("on-amber", "amber", AAA),
    *(("cool", ground, AA) for ground in ("ground", "raised", "lifted")),
    *(("red", ground, AA) for ground in ("ground", "raised", "red-wash")),
    *(("green", ground, AA) for ground in ("ground", "raised", "green-wash")),
    *(("edge", ground, GRAPHIC) for ground in ("ground", "raised", "lifted")),
)


def _properties(tokens: Mapping[str, str], indent: str) -> str:
    return "".join(f"{indent}--{name}: {value};\n" for name, value in tokens.items())


def tokens_css() -> str:
    """The custom properties: dark by default, light by the system's wish or by the reader's own choice."""
    steady = {**TYPE_SCALE, **SPACE, **RADII, **MOTION, "sans": FONT_SANS, "mono": FONT_MONO}
    return (
        "/* Written by `python -m frontend.theme`; edit frontend/theme.py instead. */\n"
        f":root {{\n  color-scheme: dark;\n{_properties({**steady, **DARK}, '  ')}}}\n"
        "@media (prefers-color-scheme: light) {\n  :root:not([data-theme='dark']) {\n    color-scheme: light;\n"
        f"{_properties(LIGHT, '    ')}  }}\n}}\n"
        f":root[data-theme='light'] {{\n  color-scheme: light;\n{_properties(LIGHT, '  ')}}}\n"
        f".grey-room {{\n{_properties(DARK_GREY, '  ')}}}\n"
        "@media (prefers-color-scheme: light) {\n  :root:not([data-theme='dark']) .grey-room {\n"
        f"{_properties(LIGHT_GREY, '    ')}  }}\n}}\n"
        f":root[data-theme='light'] .grey-room {{\n{_properties(LIGHT_GREY, '  ')}}}\n"
    )


def _luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast_ratio(foreground: str, background: str) -> float:
    """The WCAG 2 contrast of two `#rrggbb` colours, from 1 to 21."""
    high, low = sorted((_luminance(foreground), _luminance(background)), reverse=True)
    return (high + 0.05) / (low + 0.05)


if __name__ == "__main__":
    TOKENS_CSS.write_text(tokens_css())
