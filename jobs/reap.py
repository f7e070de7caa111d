"""The leader's reaper: leases that ran out, attempts that stand still, workers that rest.

It buries nobody before it has heard for one whole lease.
"""

import asyncio

from sqlalchemy.exc import SQLAlchemyError

from backend.domain.attempt import LEASE
from backend.log import get_logger
from backend.services.expire_leases import expire_leases, expire_stalled
from backend.services.judge_worker import judge_resting_workers
from backend.storage import StorageError
from backend.studio import Studio
from jobs.hearing import Hearing

log = get_logger(__name__)

EVERY_S = 1.0
SELDOM_S = 5.0
"""Standing still is a matter of minutes, and rest of half a minute and more."""


async def reap(studio: Studio, hearing: Hearing) -> None:
    """Reap for ever."""
    seldom_at = studio.clock.monotonic()
    while True:
        await asyncio.sleep(EVERY_S)
        if hearing.for_s() < LEASE.total_seconds():
            continue
        try:
            await expire_leases(studio)
            if (now := studio.clock.monotonic()) >= seldom_at:
                seldom_at = now + SELDOM_S
                await expire_stalled(studio)
                await judge_resting_workers(studio)
        except (SQLAlchemyError, OSError, StorageError) as error:
            log.warning("reap.waits", error=type(error).__name__)
