"""Tiers may be changed at any time: the leader begins anew with the new ones, as after a restart, but at once."""

import asyncio

from sqlalchemy.exc import SQLAlchemyError

from backend.log import get_logger
from backend.services.edit_tier import list_tiers
from backend.studio import Studio

log = get_logger(__name__)

LOOKS_EVERY_S = 3.0


async def watch_tiers(studio: Studio, *, every_s: float = LOOKS_EVERY_S) -> None:
    """End when the tiers are not those that they were: all that the leader does ends with this and begins again."""
    known = await list_tiers(studio)
    while True:
        await asyncio.sleep(every_s)
        try:
            now = await list_tiers(studio)
        except (SQLAlchemyError, OSError) as error:
            log.warning("tiers.unknown", error=type(error).__name__)
            continue
        if now != known:
            changed = sorted(tier.name for tier in now if tier not in known)
            log.info("tiers.changed", tiers=changed)
            return
