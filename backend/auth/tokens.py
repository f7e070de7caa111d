"""Opaque tokens: 256 random bits, shown once; the database holds only their hash."""

import hashlib
import secrets
from http.cookies import CookieError, SimpleCookie

API_KEY_PREFIX = "sk-zt-"
SESSION_COOKIE = "zoetrope_session"

_TOKEN_BYTES = 32
_MAX_TOKEN_CHARS = 200


def new_token() -> str:
    """A token for a session or a one-time link."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def new_api_key() -> str:
    """A program's key, `sk-zt-…`."""
    return API_KEY_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """What is stored. Fast on purpose: a token has too much chance in it to be guessed from its hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def hint_of(key: str) -> str:
    """What is shown of a key afterwards: enough to tell it from others, too little to use."""
    return f"{API_KEY_PREFIX}…{key[-4:]}"


def is_plausible(token: str) -> bool:
    """Whether it is worth a look-up."""
    return 0 < len(token) <= _MAX_TOKEN_CHARS and token.isascii()


def session_token(cookie_header: str) -> str | None:
    """The session's token in a raw `Cookie` header."""
    try:
        morsel = SimpleCookie(cookie_header).get(SESSION_COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None
