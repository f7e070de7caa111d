"""What pages hand to the gateway came from a browser: any client fires any event, with any value. Checked here, once.

Text is cleaned as the API cleans it. An id that cannot be one is replaced by one that names nothing, so that it is
as absent as an id that nobody has.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from backend.domain.clean_text import clean_text, shown
from backend.domain.errors import InvalidField
from backend.ids import IdPrefix, is_id
from frontend.views import Draft

NOTHING = "-"
MAX_TEXT_CHARS = 10_000
MAX_ITEMS = 1_000
_IDS = {
    "job_id": IdPrefix.VIDEO,
    "clip_id": IdPrefix.VIDEO,
    "clip_ids": IdPrefix.VIDEO,
    "key_id": IdPrefix.API_KEY,
    "case_id": IdPrefix.REVIEW_CASE,
}
_CURSOR = re.compile("[a-z0-9_]{0,64}")
# A header of the socket's own handshake, not an event's value.
_AS_SENT = frozenset({"self", "who", "cookie"})


def cleaned(signature: inspect.Signature, bound: inspect.BoundArguments) -> None:
    """Clean the arguments of a gateway's method in place. Raises `InvalidField` naming the one that can't be taken."""
    for name, value in bound.arguments.items():
        if name not in _AS_SENT:
            bound.arguments[name] = _clean(name, value, signature.parameters[name].annotation)


def _clean(name: str, value: object, kind: object) -> object:
    if isinstance(value, Draft):
        return _clean_draft(value)
    if name == "clip_ids":
        return [_id(name, item) for item in _items(value)[:MAX_ITEMS]]
    if name in _IDS:
        return _id(name, value)
    if name == "cursor":
        return value if isinstance(value, str) and _CURSOR.fullmatch(value) else NOTHING
    return _KINDS[kind](name, value)


def _clean_draft(draft: Draft) -> Draft:
    changes = {field.name: _text(field.name, getattr(draft, field.name)) for field in fields(draft)}
    if draft.image_id and not is_id(draft.image_id, IdPrefix.UPLOAD):
        raise InvalidField(f"There is no upload {shown(draft.image_id)!r}.", param="image_id")
    return replace(draft, **changes)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        raise InvalidField(f"{name} is a text of {MAX_TEXT_CHARS} characters at most.", param=name)
    return clean_text(value, param=name)


def _id(name: str, value: object) -> str:
    return value if isinstance(value, str) and is_id(value, _IDS[name]) else NOTHING


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidField(f"{name} is true or false.", param=name)
    return value


def _number(name: str, value: object) -> int:
    if not isinstance(value, int) or abs(value) > 1_000_000:
        raise InvalidField(f"{name} is a whole number.", param=name)
    return value


def _texts(name: str, value: object) -> list[str]:
    return [_text(name, item) for item in _items(value)[:MAX_ITEMS]]


def _number_or_none(name: str, value: object) -> int | None:
    return None if value is None else _number(name, value)


_KINDS: dict[object, Callable[[str, object], object]] = {
    str: _text,
    bool: _flag,
    int: _number,
    int | None: _number_or_none,
    Sequence[str]: _texts,
}
"""What the gateway's methods take, beside drafts and ids. A new kind of argument needs its line here."""
