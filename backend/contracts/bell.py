"""A Valkey channel as a bell: it only wakes. Whoever listens also polls, since a channel loses what it says."""

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.log import get_logger

log = get_logger(__name__)

SILENCE_S = 5.0
RECONNECT_S = 0.5


async def listen(redis: Redis, channel: str, wake: Callable[[], None]) -> None:
    """Call `wake` at whatever is said on the channel, and after each time of deafness, for ever."""
    while True:
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as heard:
                await heard.subscribe(channel)
                wake()
                while True:
                    # A bounded wait, so that a connection that died silently is noticed.
                    if await heard.get_message(timeout=SILENCE_S) is not None:
                        wake()
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("bell.deaf", channel=channel, error=type(error).__name__)
            await asyncio.sleep(RECONNECT_S)
