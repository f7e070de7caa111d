"""What people type, made fit to be kept and repeated: the same for the API and for the pages. Pure."""

import re
import unicodedata

from backend.domain.errors import InvalidField

SHOWN_CHARS = 100

# Tab and line ends are text; the other control characters are nothing that anybody types.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def clean_text(text: str, *, param: str) -> str:
    """The text without control characters. Raises `InvalidField` for halves of surrogate pairs: no text has them."""
    if not is_text(text):
        raise InvalidField(f"{shown(param)} is not valid Unicode text.", param=param)
    return _CONTROLS.sub("", text)


def is_text(text: str) -> bool:
    """Whether it can be written down at all: as UTF-8, on the wire and in the database."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_blank(text: str) -> bool:
    """Whether nobody would see anything: empty, spaces, zero-width characters, letters that are drawn as nothing."""
    return not any(unicodedata.category(c)[0] in "LNPS" and c not in _BLANK_LETTERS for c in text)


def shown(value: str) -> str:
    """A value as a message repeats it: cut, and writable whatever it holds."""
    cut = value if len(value) <= SHOWN_CHARS else value[: SHOWN_CHARS - 1] + "…"
    return cut.encode(errors="backslashreplace").decode()
