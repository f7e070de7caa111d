"""The palette keeps its promises: contrast by number, and the stylesheet is the one the tokens write."""

import pytest

from frontend import theme

ROOMS = {
    "dark": theme.DARK,
    "light": theme.LIGHT,
    "grey dark": {**theme.DARK, **theme.DARK_GREY},
    "grey light": {**theme.LIGHT, **theme.LIGHT_GREY},
}


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(("text", "ground", "least"), theme.CONTRAST)
def test_text_can_be_read_on_its_ground(room: str, text: str, ground: str, least: float) -> None:
    colours = ROOMS[room]
    assert theme.contrast_ratio(colours[text], colours[ground]) >= least


def test_light_and_dark_name_the_same_colours() -> None:
    assert set(theme.DARK) == set(theme.LIGHT)
    assert set(theme.DARK_GREY) == set(theme.LIGHT_GREY) <= set(theme.DARK)


def test_the_committed_stylesheet_is_the_one_the_tokens_write() -> None:
    assert theme.TOKENS_CSS.read_text() == theme.tokens_css()


def test_black_on_white_is_the_widest_contrast() -> None:
    assert theme.contrast_ratio("#000000", "#ffffff") == pytest.approx(21.0)
