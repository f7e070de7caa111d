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
# Looks at all counts, then raises all or none, in one step: tries that come at once can't slip past it together.
# Answers 0, or the milliseconds until the fullest one starts again.
_TAKE = """
local wait = 0
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[2 * i - 1]) then
    wait = math.max(wait, redis.call('PTTL', key), 1)
  end
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[2 * i]) end
end
return 0
"""
_GIVE_BACK = """
for _, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') > 0 then redis.call('DECR', key) end
end
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

    def take(self, buckets: Sequence[Bucket], now: float) -> float:
        """Count one more in each, unless one is full: then the seconds until it starts again."""
        found = [(bucket, *self._get(bucket.key, now)) for bucket in buckets]
        wait_s = max((end - now for bucket, count, end in found if count >= bucket.limit), default=0.0)
        if wait_s > 0:
            return wait_s
        for bucket, count, end in found:
            self._make_room(now)
            self._counts[bucket.key] = (count + 1, end if count else now + bucket.window.total_seconds())
        return 0.0

    def give_back(self, buckets: Sequence[Bucket]) -> None:
        for bucket in buckets:
            count, end = self._counts.get(bucket.key, (0, 0.0))
            if count > 0:
                self._counts[bucket.key] = (count - 1, end)

    def drop(self, key: str) -> None:
        self._counts.pop(key, None)

    def _get(self, key: str, now: float) -> tuple[int, float]:
        count, end = self._counts.get(key, (0, 0.0))
        return (count, end) if end > now else (0, now)

    def _make_room(self, now: float) -> None:
        if len(self._counts) < _MAX_LOCAL:
            return
        self._counts = {key: value for key, value in self._counts.items() if value[1] > now}
        while len(self._counts) >= _MAX_LOCAL:
            del self._counts[next(iter(self._counts))]


_local = _LocalCounts()


def sign_in_buckets(email: str, address: str) -> tuple[Bucket, ...]:
    """What is counted at a sign-in: this person from here, anyone from here, this person from anywhere."""
    quarter = timedelta(minutes=15)
    return (
        Bucket(name=f"sign-in:{email.lower()}:{address}", limit=8, window=quarter),
        Bucket(name=f"sign-in:*:{address}", limit=60, window=quarter),
        Bucket(name=f"sign-in:{email.lower()}:*", limit=100, window=timedelta(hours=1)),
    )


def own_password_buckets(user_id: str) -> tuple[Bucket, ...]:
    """What is counted when somebody who is signed in names their current password."""
    return (Bucket(name=f"own-password:{user_id}", limit=8, window=timedelta(minutes=15)),)


def token_buckets(address: str) -> tuple[Bucket, ...]:
    """What is counted when a letter's token is tried."""
    return (Bucket(name=f"token:{address}", limit=60, window=timedelta(minutes=15)),)


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


async def take(redis: Redis, clock: Clock, buckets: Sequence[Bucket]) -> None:
    """Count one more try in each, before it is looked at. Raises `RateLimited` when one is full: none counts it."""
    here_s = _local.take(buckets, clock.monotonic())
    limits = [str(n) for b in buckets for n in (b.limit, int(b.window.total_seconds() * 1000))]
    try:
        wait_ms = await redis.eval(_TAKE, len(buckets), *(b.key for b in buckets), *limits)  # type: ignore[misc]  # redis-py types both clients at once
        wait_s = int(wait_ms) / 1000
    except (RedisError, OSError) as error:
        log.warning("throttle.local", error=type(error).__name__)
        wait_s = here_s
    if wait_s > 0:
        raise RateLimited(
            "Too many tries. Wait a little, then try again.", retry_after=timedelta(seconds=max(1.0, wait_s))
        )


async def give_back(redis: Redis, buckets: Sequence[Bucket]) -> None:
    """The try was right: it doesn't count."""
    _local.give_back(buckets)
    try:
        await redis.eval(_GIVE_BACK, len(buckets), *(b.key for b in buckets))  # type: ignore[misc]  # redis-py types both clients at once
    except (RedisError, OSError) as error:
        log.warning("throttle.local", error=type(error).__name__)


async def forget(redis: Redis, bucket: Bucket) -> None:
    """Start this one again."""
    _local.drop(bucket.key)
    try:
        await redis.delete(bucket.key)
    except (RedisError, OSError) as error:
        log.warning("throttle.local", error=type(error).__name__)
