"""Valkey as a wake-up: tells browsers and workers that something changed. Losing one loses nothing."""

import json
import time
from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from backend.ids import new_trace_id
from backend.log import get_logger

log = get_logger(__name__)

LIVE_CHANNEL = "zoetrope:live"
ASK_KEY = "zoetrope:control:ask"
ASK_TIMEOUT_S = 0.4
FULL_KEY = "zoetrope:control:full"
FULL_FOR_MS = 5000
SILENCE_S = 1.0
"""After a question that nobody answered, none is asked for this long: pages must not wait for an absent leader."""


def connect(url: str) -> Redis:
    """A client with short time-outs: a wake-up that hangs is worse than one that is lost."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=1),
    )


class Wakeups:
    """What the control plane says over Valkey. Every method swallows an absent Valkey, with a log line."""

    def __init__(self, redis: Redis, *, ask_timeout_s: float = ASK_TIMEOUT_S) -> None:
        self.redis = redis
        self._ask_timeout_s = ask_timeout_s
        self._ask_again_at = 0.0

    async def account_changed(self, account_id: str, job_id: str = "") -> None:
        """Something of this account changed: whoever watches it reads again."""
        await self._publish(LIVE_CHANNEL, json.dumps({"account_id": account_id, "job_id": job_id}))

    async def everyone_changed(self) -> None:
        """Places in the queue moved for many at once."""
        await self._publish(LIVE_CHANNEL, json.dumps({"account_id": "*", "job_id": ""}))

    async def _publish(self, channel: str, message: str) -> None:
        try:
            await self.redis.publish(channel, message)
        except (RedisError, OSError) as error:
            log.warning("wakeup.lost", channel=channel, error=type(error).__name__)

    async def ask_leader(self, question: dict[str, object]) -> dict[str, object] | None:
        """Ask the leader, which holds the fair queue in memory. None: nobody answered in time."""
        if time.monotonic() < self._ask_again_at:
            return None
        reply_key = f"zoetrope:control:reply:{new_trace_id()}"
        try:
            await cast(
                Awaitable[int], self.redis.rpush(ASK_KEY, json.dumps({**question, "reply": reply_key}))
            )
            await self.redis.expire(ASK_KEY, 5)
            answer = await cast(
                Awaitable[list[str] | None], self.redis.blpop([reply_key], timeout=self._ask_timeout_s)
            )
        except (RedisError, OSError) as error:
            log.warning("ask.lost", error=type(error).__name__)
            answer = None
        if answer is None:
            self._ask_again_at = time.monotonic() + SILENCE_S
            return None
        return cast("dict[str, object]", json.loads(answer[1]))

    async def say_full(self, tiers: dict[str, dict[str, float]]) -> None:
        """Let those who take jobs know which tiers are full; holds for a few seconds."""
        try:
            await self.redis.set(FULL_KEY, json.dumps(tiers), px=FULL_FOR_MS)
        except (RedisError, OSError) as error:
            log.warning("wakeup.lost", channel=FULL_KEY, error=type(error).__name__)

    async def full_for(self, tier: str) -> float | None:
        """Seconds after which a full tier is worth another try; None where it is not full, or nobody says so."""
        try:
            raw = await self.redis.get(FULL_KEY)
        except (RedisError, OSError) as error:
            log.warning("wakeup.lost", channel=FULL_KEY, error=type(error).__name__)
            return None
        found = json.loads(raw).get(tier) if raw else None
        return None if found is None else float(found["retry_after_s"])

    async def ping(self) -> None:
        """One round trip; raises when Valkey is away."""
        await cast(Awaitable[bool], self.redis.ping())

    async def close(self) -> None:
        """Close the connections."""
        await self.redis.aclose()
