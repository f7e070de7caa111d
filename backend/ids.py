"""Identifiers: a prefix that says what it names, then 26 characters that sort by the time they were made.

The layout is that of a ULID (48 bits of milliseconds, 80 random bits, Crockford's base 32 in lower case).
Ids made in one process never repeat and never go backwards.
"""

import re
import secrets
import threading
import time
from enum import StrEnum

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BODY_LENGTH = 26
_RANDOM_BITS = 80
_ID_PATTERN = re.compile(rf"([a-z]+)_([{_ALPHABET}]{{{_BODY_LENGTH}}})")


class IdPrefix(StrEnum):
    """What an id names."""

    VIDEO = "video"
    ATTEMPT = "att"
    ARTIFACT = "art"
    UPLOAD = "up"
    ACCOUNT = "acct"
    USER = "user"
    API_KEY = "key"
    GRANT = "grant"
    HOLD = "hold"
    LEDGER_ENTRY = "led"
    VERDICT = "verd"
    REVIEW_CASE = "case"
    REQUEST = "req"


class _Sequence:
    """128-bit numbers: the time in front, chance behind, each larger than the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        fresh = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            # Within a millisecond, or when the clock is set back: a random step up, so that the next id
            # can't be guessed from this one.
            self._last = fresh if fresh > self._last else self._last + 1 + secrets.randbits(64)
            return self._last


_sequence = _Sequence()


def new_id(prefix: IdPrefix) -> str:
    """A new id, such as `video_01kah3...`: URL-safe, unique, sorted by time of making."""
    number = _sequence.next()
    body = "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_BODY_LENGTH - 1), -1, -5))
    return f"{prefix}_{body}"


def is_id(text: str, prefix: IdPrefix) -> bool:
    """Whether this is a well-formed id of that kind (not whether anything has it)."""
    match = _ID_PATTERN.fullmatch(text)
    return match is not None and match[1] == prefix


def new_trace_id() -> str:
    """32 hexadecimal digits, as W3C trace context has it: one a request, carried through to the webhook."""
    return secrets.token_hex(16)
