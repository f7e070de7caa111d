"""How fast somebody may do something: a token bucket in Valkey, and one in this process while Valkey is away.

A bucket holds a minute's worth and fills evenly. One question is one call of Lua, by the server's own clock.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.clock import Clock
from backend.log import get_logger

log = get_logger(__name__)

TIMEOUT_S = 0.25
AWAY_S = 1.0
"""After Valkey did not answer, it isn't asked for this long: nobody who submits waits for it twice."""
MAX_LOCAL = 10_000
PREFIX = "zoetrope:rate:"

_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local capacity = tonumber(ARGV[1])
local rate = capacity / 60000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local passed = math.max(0, now - (tonumber(kept[2]) or now))
local tokens = math.min(capacity, (tonumber(kept[1]) or capacity) + passed * rate)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = math.ceil((1 - tokens) / rate) end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', now)
redis.call('PEXPIRE', KEYS[1], 61000)
return wait
"""


@dataclass
class _Bucket:
    tokens: float
    at_s: float


class TokenBuckets:
    """Buckets by name, of one process' view. The local ones are at most `MAX_LOCAL`, the least lately used go first."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._away_until_s = 0.0

    async def take(self, name: str, *, per_minute: int) -> timedelta | None:
        """Take one of `per_minute` tokens. None: it was there; else how long until there is one."""
        wait_ms = await self._ask(name, per_minute)
        if wait_ms is None:
            wait_ms = self._take_here(name, per_minute)
        return timedelta(milliseconds=wait_ms) if wait_ms else None

    async def _ask(self, name: str, per_minute: int) -> int | None:
        """Milliseconds to wait, by Valkey; None while it is away."""
        now_s = self._clock.monotonic()
        if now_s < self._away_until_s:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return int(await self._redis.eval(_TAKE, 1, PREFIX + name, str(per_minute)))  # type: ignore[misc]  # redis-py types both clients at once
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("rate.local", error=type(error).__name__)
            self._away_until_s = now_s + AWAY_S
            return None

    def _take_here(self, name: str, per_minute: int) -> int:
        now_s = self._clock.monotonic()
        rate = per_minute / 60_000
        bucket = self._buckets.setdefault(name, _Bucket(tokens=per_minute, at_s=now_s))
        self._buckets.move_to_end(name)
        while len(self._buckets) > MAX_LOCAL:
            self._buckets.popitem(last=False)
        passed_ms = max(0.0, now_s - bucket.at_s) * 1000
        bucket.tokens, bucket.at_s = min(per_minute, bucket.tokens + passed_ms * rate), now_s
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0
        return ceil((1 - bucket.tokens) / rate)
