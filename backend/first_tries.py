"""The ids that first tries at a job were given before anything could refuse them, for two minutes, in Valkey.

The openai client sends no idempotency key; only the count of its retries says that a request was sent before. Of the
first tries of one wish some made their job and some were refused: a retry looks for an id that no job has, after the
last that made one, and makes the job under it. Earlier ones were given up. So there are never more jobs than first
tries, and a lost answer makes no second job.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.clock import Clock
from backend.log import get_logger

log = get_logger(__name__)

KEPT = timedelta(minutes=2)
MOST = 100
TIMEOUT_S = 1.0
AWAY_S = 1.0
"""After Valkey did not answer, it isn't asked for this long: nobody who submits waits for it twice."""
PREFIX = "zoetrope:tries:"


class FirstTries:
    """First tries by account and wish. Without Valkey none is noted, and none known."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._away_until_s = 0.0

    async def note(self, account_id: str, wish: str, job_id: str) -> None:
        """A first try begins; its job, if one comes of it, will have this id. `wish`: a digest of what was asked."""
        key, now_s = _key(account_id, wish), self._clock.now().timestamp()
        pipe = self._redis.pipeline(transaction=True)
        pipe.zadd(key, {job_id: now_s})
        pipe.zremrangebyscore(key, "-inf", now_s - KEPT.total_seconds())
        pipe.zremrangebyrank(key, 0, -MOST - 1)
        pipe.pexpire(key, KEPT)
        await self._ask(pipe.execute)

    async def of(self, account_id: str, wish: str) -> tuple[str, ...]:
        """The ids of this wish's first tries, the oldest first; at most `MOST`."""
        key, since_s = _key(account_id, wish), self._clock.now().timestamp() - KEPT.total_seconds()
        return tuple(await self._ask(lambda: self._redis.zrangebyscore(key, since_s, "+inf")) or ())

    async def _ask(self, question: Callable[[], Awaitable[list[str]]]) -> list[str] | None:
        """The answer; None while Valkey is away."""
        now_s = self._clock.monotonic()
        if now_s < self._away_until_s:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await question()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("tries.unknown", error=type(error).__name__)
            self._away_until_s = now_s + AWAY_S
            return None


def _key(account_id: str, wish: str) -> str:
    return f"{PREFIX}{account_id}:{wish}"
