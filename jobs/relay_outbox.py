"""Takes due outbox rows and hands them over to arq. What arq loses is due again after `HIDDEN`."""

import asyncio
from collections import Counter
from datetime import timedelta

from arq.connections import ArqRedis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from backend.contracts.arq_queue import open_queues
from backend.db import outbox
from backend.db.listen import OutboxBell
from backend.log import get_logger
from backend.studio import Studio
from jobs.queues import QUEUE_OF, hand_over_step

log = get_logger(__name__)

HIDDEN = timedelta(seconds=15)
"""Until a row that was taken is due again; `take_step` moves this on while it works."""
POLL_S = 1.0
BATCH = 200


async def relay_outbox(studio: Studio, redis_url: str) -> None:
    """Relay for ever. Any number of processes may."""
    async with open_queues(redis_url) as queues, OutboxBell(studio.db.url, frozenset(QUEUE_OF)) as bell:
        while True:
            try:
                full = await relay_once(studio, queues)
            except (SQLAlchemyError, RedisError, OSError) as error:
                log.warning("relay.waits", error=type(error).__name__)
                await asyncio.sleep(POLL_S)
                continue
            if not full:
                await bell.wait(POLL_S)


async def relay_once(studio: Studio, queues: ArqRedis) -> bool:
    """One round over all consumers; True when one of them had a full batch."""
    async with studio.db.single() as session:
        events = await outbox.take(session, *QUEUE_OF, limit=BATCH, hidden=HIDDEN)
    for event in events:
        await hand_over_step(queues, event)
    return BATCH in Counter(event.consumer for event in events).values()
