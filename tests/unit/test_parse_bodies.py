"""What a field's text means as a number."""

import pytest

from backend.api.parse_bodies import Fields
from backend.domain.errors import InvalidField


def fields(text: str) -> Fields:
    return Fields(values={"seed": text}, files={})


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), (" 7 ", 7), ("-3", -3), ("+3", 3), ("7.0", 7), ("1e3", 1000), (str(2**60 + 1), 2**60 + 1)],
)
def test_a_whole_number_is_read_as_written(text: str, number: int) -> None:
    assert fields(text).integer("seed") == number


@pytest.mark.parametrize(
    "text",
    ["1_0", "nan", "inf", "-Infinity", "\u0661\u0660", "0x10", "1e999", "1e", ".", "", " ", "7 7", "--7"],
)
def test_what_is_no_number_to_a_person_is_none(text: str) -> None:
    if not text:
        assert fields(text).number("seed") is None
        return
    for read in (fields(text).integer, fields(text).number):
        with pytest.raises(InvalidField, match="seed is a number"):
            read("seed")
