"""Looks now and then for what fell through; what it finds is a fault, and is told again."""

import asyncio
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from backend.domain.events import Consumer
from backend.log import get_logger
from backend.services.find_lost_steps import Mark, find_lost_jobs, find_lost_steps
from backend.studio import Studio

log = get_logger(__name__)

EVERY_S = 20.0


async def reconcile(studio: Studio, waits: Callable[[str], bool]) -> None:
    """Reconcile for ever. `waits`: whether the leader knows that a job waits."""
    mark: Mark | None = None
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            _, mark = await reconcile_once(studio, waits, after=mark)
        except (SQLAlchemyError, OSError) as error:
            log.warning("reconcile.waits", error=type(error).__name__)


async def reconcile_once(
    studio: Studio, waits: Callable[[str], bool], *, after: Mark | None = None
) -> tuple[int, Mark | None]:
    """One round; how many events had to be written again, and where the next one goes on among waiting jobs."""
    found = await find_lost_steps(studio)
    lost, mark = await find_lost_jobs(studio, waits, after=after)
    found[Consumer.DISPATCH] += lost
    if found.total():
        log.warning(
            "reconcile.found", count=found.total(), consumers=sorted(k for k, n in found.items() if n)
        )
    return found.total(), mark
