"""Slows down guessing: failures are counted in Valkey, and in this process while Valkey is away."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.clock import Clock
from backend.domain.errors import RateLimited
from backend.log import get_logger

log = get_logger(__name__)

_PREFIX = "zoetrope:throttle:"
_MAX_LOCAL = 10_000
_COUNT = """
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return n
"""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """So many failures of one thing in one window."""

    name: str
    limit: int
    window: timedelta

    @property
    def key(self) -> str:
        """Where it is counted; addresses and names are hashed."""
        return _PREFIX + hashlib.sha256(self.name.encode()).hexdigest()[:32]


class _LocalCounts:
    """Counts of this process: key -> (count, monotonic end)."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}

    def get(self, key: str, now: float) -> tuple[int, float]:
        count, end = self._counts.get(key, (0, 0.0))
        return (count, end) if end > now else (0, now)

    def add(self, key: str, now: float, window_s: float) -> None:
        count, end = self.get(key, now)
        if len(self._counts) >= _MAX_LOCAL:
            self._counts = {k: v for k, v in self._counts.items() if v[1] > now}
            while len(self._counts) >= _MAX_LOCAL:
                del self._counts[next(iter(self._counts))]
        self._counts[key] = (count + 1, end if count else now + window_s)

    def drop(self, key: str) -> None:
        self._counts.pop(key, None)


_local = _LocalCounts()


def sign_in_buckets(email: str, address: str) -> tuple[Bucket, ...]:
    """What is counted at a sign-in: this person from here, anyone from here, this person from anywhere."""
    quarter = timedelta(minutes=15)
    return (
        Bucket(name=f"sign-in:{email.lower()}:{address}", limit=8, window=quarter),
        Bucket(name=f"sign-in:*:{address}", limit=60, window=quarter),
        Bucket(name=f"sign-in:{email.lower()}:*", limit=100, window=timedelta(hours=1)),
    )


def sign_up_buckets(address: str) -> tuple[Bucket, ...]:
    """What is counted at a sign-up."""
    return (Bucket(name=f"sign-up:{address}", limit=20, window=timedelta(hours=1)),)


def letter_buckets(email: str, address: str) -> tuple[Bucket, ...]:
    """What is counted when a letter is asked for."""
    hour = timedelta(hours=1)
    return (
        Bucket(name=f"letter:{email.lower()}", limit=5, window=hour),
        Bucket(name=f"letter:*:{address}", limit=30, window=hour),
    )


async def check(redis: Redis, clock: Clock, buckets: Sequence[Bucket]) -> None:
    """Raises `RateLimited` when one of them is full."""
    for bucket in buckets:
        count, left_s = await _count(redis, clock, bucket)
        if count >= bucket.limit:
            raise RateLimited(
                "Too many tries. Wait a little, then try again.", retry_after=timedelta(seconds=left_s)
            )


async def add(redis: Redis, clock: Clock, buckets: Sequence[Bucket]) -> None:
    """Count one more in each."""
    for bucket in buckets:
        _local.add(bucket.key, clock.monotonic(), bucket.window.total_seconds())
        try:
            await redis.eval(_COUNT, 1, bucket.key, str(int(bucket.window.total_seconds() * 1000)))  # type: ignore[misc]  # redis-py types both clients at once
        except (RedisError, OSError) as error:
            log.warning("throttle.local", error=type(error).__name__)


async def forget(redis: Redis, bucket: Bucket) -> None:
    """Start this one again."""
    _local.drop(bucket.key)
    try:
        await redis.delete(bucket.key)
    except (RedisError, OSError) as error:
        log.warning("throttle.local", error=type(error).__name__)


async def _count(redis: Redis, clock: Clock, bucket: Bucket) -> tuple[int, float]:
    now = clock.monotonic()
    here, end = _local.get(bucket.key, now)
    try:
        count = int(await redis.get(bucket.key) or 0)
        left_ms = int(await redis.pttl(bucket.key)) if count >= bucket.limit else 0
    except (RedisError, OSError):
        return here, max(1.0, end - now)
    return count, max(1.0, left_ms / 1000)
