"""What time takes away and gives, in small batches: credits, old clips, outbox rows, keys and sessions past use."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.db import outbox
from backend.db.repositories import ledger
from backend.log import get_logger
from backend.services.accept_billing_event import forget_old_events
from backend.services.drop_checkpoints import drop_checkpoints
from backend.services.expire_artifacts import expire_artifacts
from backend.services.note_network import forget_networks
from backend.services.renew_credits import BATCH, renew_month
from backend.services.sweep_ended_jobs import sweep_ended_jobs
from backend.services.sweep_uploads import sweep_uploads
from backend.storage import StorageError
from backend.studio import Studio

log = get_logger(__name__)

EVERY_S = 60.0
AGAIN_S = 0.1
"""The pause of a round that left something to do."""
CREDIT_BATCHES = 40
"""Batches of grants a round: when a month begins, the other work is not kept waiting for all of them."""
OUTBOX_KEPT = timedelta(days=1)

_OLD_KEYS = text(
    "DELETE FROM idempotency_keys WHERE ctid IN (SELECT ctid FROM idempotency_keys"
    " WHERE created_at < now() - interval '1 day' LIMIT 5000)"
)
_OLD_SESSIONS = text(
    "DELETE FROM sessions WHERE ctid IN (SELECT ctid FROM sessions"
    " WHERE least(expires_at, revoked_at) < now() - interval '30 days' LIMIT 5000)"
)
_OLD_LINKS = text(
    "DELETE FROM one_time_tokens WHERE ctid IN (SELECT ctid FROM one_time_tokens"
    " WHERE least(expires_at, used_at) < now() - interval '30 days' LIMIT 5000)"
)


async def expire(studio: Studio) -> None:
    """Expire for ever."""
    while True:
        done = await expire_once(studio)
        await asyncio.sleep(EVERY_S if done else AGAIN_S)


async def expire_once(studio: Studio) -> bool:
    """One round over everything that ends by time. False: there is more to end, to sweep or to give.

    A chore that can't be done now waits for the next round, and keeps no other waiting.
    """
    more = False
    for name, chore in _CHORES.items():
        try:
            more = await chore(studio) or more
        except (SQLAlchemyError, StorageError, OSError) as error:
            log.warning("expire.waits", chore=name, error=type(error).__name__)
    return not more


async def _rows(studio: Studio) -> bool:
    async with studio.db.transaction() as session:
        await outbox.sweep(session, older_than=OUTBOX_KEPT)
        for statement in (_OLD_KEYS, _OLD_SESSIONS, _OLD_LINKS):
            await session.execute(statement)
        await forget_networks(session)
        await forget_old_events(session)
    return False


async def _checkpoints(studio: Studio) -> bool:
    await drop_checkpoints(studio)
    return False


async def _credits(studio: Studio) -> bool:
    more = True
    for _ in range(CREDIT_BATCHES):
        async with studio.db.transaction() as session:
            ended = await ledger.expire_grants(session, limit=BATCH)
        more = BATCH in (ended, await renew_month(studio))
        if not more:
            break
    return more


_CHORES: dict[str, Callable[[Studio], Awaitable[bool]]] = {
    "artifacts": expire_artifacts,
    "ended_jobs": sweep_ended_jobs,
    "uploads": sweep_uploads,
    "rows": _rows,
    "checkpoints": _checkpoints,
    "credits": _credits,
}
"""Each gives whether there is more of it at once."""
