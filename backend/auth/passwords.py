"""Passwords: argon2id, in threads of their own, so that neither the event loop nor the memory suffers."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from backend.domain.errors import InvalidField, Unavailable

MIN_CHARS = 12
MAX_CHARS = 1024
MIN_DIFFERENT_CHARS = 5
MIN_ADDRESS_PART = 3
MIN_CHARS_BESIDE_ADDRESS = 8
MAX_IN_HAND = 24
"""Hashes at work or waiting. On a slow machine one takes 0.1 s: nobody waits longer than about two seconds."""

P = ParamSpec("P")
T = TypeVar("T")

# OWASP's second setting: 19 MiB and about 25 ms on a small machine. Two at a time at most.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")


def check_password(password: str, *, email: str = "") -> str:
    """The password, when it is long enough and not made of next to nothing, or of its owner's address.

    Raises `InvalidField`.
    """
    if not MIN_CHARS <= len(password) <= MAX_CHARS:
        raise InvalidField(f"A password has {MIN_CHARS} characters or more.", param="password")
    said = password.casefold()
    if len({char for char in said if not char.isspace()}) < MIN_DIFFERENT_CHARS:
        raise InvalidField(
            f"That repeats too few characters: use {MIN_DIFFERENT_CHARS} different ones or more.",
            param="password",
        )
    if _is_the_address(said, email.casefold()):
        raise InvalidField("A password is not the e-mail address: anybody would try that.", param="password")
    return password


def _is_the_address(said: str, email: str) -> bool:
    """Whether too little is left of it without the address and its parts: `ada@example.org1234` is no secret."""
    name, _, host = email.partition("@")
    left = said
    for part in (email, name, host):
        if len(part) >= MIN_ADDRESS_PART:
            left = left.replace(part, "")
    return left != said and (len(left) < MIN_CHARS_BESIDE_ADDRESS or left.isdecimal())


async def hash_password(password: str) -> str:
    """The argon2id hash to store. Raises `Unavailable` while too many are waiting."""
    return await _in_a_thread(_hasher.hash, password)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether it is the one. Without a hash the same work is done, so that time tells nothing.

    Raises `Unavailable` while too many are waiting.
    """
    return await _in_a_thread(_verify, password[:MAX_CHARS], password_hash)


def needs_rehash(password_hash: str) -> bool:
    """Whether it was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


_in_hand = 0


async def _in_a_thread(work: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
    global _in_hand
    if _in_hand >= MAX_IN_HAND:
        raise Unavailable(
            "Many people sign in just now. Try again in a moment.", retry_after=timedelta(seconds=2)
        )
    _in_hand += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(
            _threads, functools.partial(work, *values, **named)
        )
    finally:
        _in_hand -= 1


@functools.cache
def _nobodys_hash() -> str:
    return _hasher.hash("nobody has this password")


def _verify(password: str, password_hash: str | None) -> bool:
    try:
        matches = _hasher.verify(password_hash or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and password_hash is not None
