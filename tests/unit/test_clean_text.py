"""Text that people type: what is dropped, what is refused, what counts as nothing."""

import pytest

from backend.domain.clean_text import clean_text, is_blank, shown
from backend.domain.errors import InvalidField


def test_control_characters_are_dropped_and_lines_kept() -> None:
    assert clean_text("a\x00b\tc\nd\x1b[0m\x85e", param="prompt") == "ab\tc\nd[0me"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_half_a_surrogate_pair_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidField) as refused:
        clean_text(text, param="prompt")
    assert refused.value.param == "prompt"


@pytest.mark.parametrize(
    "text", ["", " \t\n", "\u200b\u200d\ufeff", "\u2060\u00ad", "\u3164", "\u2800", "\u0301", "\U000e0041"]
)
def test_what_nobody_sees_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "\u200ba", "🎈", "雨", "7", "…", "é", "ক"])
def test_what_somebody_sees_is_not(text: str) -> None:
    assert not is_blank(text)


def test_a_message_repeats_a_hundred_characters_and_only_what_can_be_written() -> None:
    assert shown("mini") == "mini"
    assert len(shown("x" * 10_000_000)) == 100
    assert shown("\ud800") == "\\ud800"
