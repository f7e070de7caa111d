"""Passwords: argon2id, in threads of their own, so that neither the event loop nor the memory suffers."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from backend.domain.errors import InvalidField

MIN_CHARS = 12
MIN_CHARS_BY_OPERATOR = 8
MAX_CHARS = 1024

# OWASP's second setting: 19 MiB and about 25 ms on a small machine. Two at a time at most.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")


def check_password(password: str, *, min_chars: int = MIN_CHARS) -> str:
    """The password, when it is long enough. Raises `InvalidField`."""
    if not min_chars <= len(password) <= MAX_CHARS:
        raise InvalidField(f"A password has {min_chars} characters or more.", param="password")
    return password


async def hash_password(password: str) -> str:
    """The argon2id hash to store."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, password)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether it is the one. Without a hash the same work is done, so that time tells nothing."""
    return await asyncio.get_running_loop().run_in_executor(
        _threads, _verify, password[:MAX_CHARS], password_hash
    )


def needs_rehash(password_hash: str) -> bool:
    """Whether it was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


@functools.cache
def _nobodys_hash() -> str:
    return _hasher.hash("nobody has this password")


def _verify(password: str, password_hash: str | None) -> bool:
    try:
        matches = _hasher.verify(password_hash or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and password_hash is not None
