"""Heartbeats of the control and moderation workers: whoever asks sees that one hangs, and the supervisor mends it.

GPU workers have theirs in their uplinks, and jobs depend on them. On these nothing depends: they lie in Valkey, whose
clock alone says how old they are, and of several processes of a part the newest counts.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.ending import end_tasks
from backend.log import get_logger
from backend.notify import notify_alive

log = get_logger(__name__)

PARTS_HEARD: Final = ("control", "moderator")
EVERY_S: Final = 1.0
SILENT_AFTER_S: Final = 10.0
"""As long as a GPU worker's lease."""
KEPT: Final = timedelta(days=1)
PREFIX: Final = "zoetrope:heartbeat:"
_WRITTEN_WITHIN_S: Final = 2.0
_ENDS_WITHIN_S: Final = 1.0


@asynccontextmanager
async def beating(redis: Redis, part: str) -> AsyncIterator[None]:
    """A heartbeat a second while the block runs and this loop turns, to Valkey and to whoever started this process."""
    beats = asyncio.create_task(_beat_on(redis, part), name="heartbeat")
    try:
        yield
    finally:
        await end_tasks(beats, within_s=_ENDS_WITHIN_S)


async def _beat_on(redis: Redis, part: str) -> None:
    while True:
        notify_alive()
        try:
            async with asyncio.timeout(_WRITTEN_WITHIN_S):
                await redis.set(PREFIX + part, "", px=KEPT)
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("heartbeat.lost", part=part, error=type(error).__name__)
        await asyncio.sleep(EVERY_S)


async def heartbeat_ages_s(redis: Redis) -> Mapping[str, float | None]:
    """Seconds since each part was last heard; None: not within a day. Raises what the client raises."""
    async with redis.pipeline(transaction=False) as asked:
        for part in PARTS_HEARD:
            asked.pttl(PREFIX + part)
        left_ms = await asked.execute()
    return {
        part: max(0.0, KEPT.total_seconds() - left / 1000) if left >= 0 else None
        for part, left in zip(PARTS_HEARD, left_ms, strict=True)
    }


def is_silent(age_s: float | None) -> bool:
    """Whether a part of this age hangs, or is not there."""
    return age_s is None or age_s > SILENT_AFTER_S


def in_words(age_s: float | None) -> str:
    """How long a silent part has been so."""
    return "never heard" if age_s is None else f"silent for {age_s:.0f} s"
