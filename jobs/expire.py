"""What time takes away and gives, in small batches: grants, old clips, outbox rows, keys and sessions past use."""

import asyncio
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.db import outbox
from backend.db.repositories import ledger
from backend.domain.events import Consumer, OutboxEvent
from backend.log import get_logger
from backend.services.grant_credits import MONTHLY_BATCH, grant_monthly_credits
from backend.studio import Studio

log = get_logger(__name__)

EVERY_S = 60.0
OUTBOX_KEPT = timedelta(days=1)

_EXPIRE_ARTIFACTS = text(
    """
    UPDATE artifacts SET state = 'expired' WHERE job_id IN (
        SELECT id FROM jobs WHERE expires_at < now() AND deleted_at IS NULL ORDER BY expires_at LIMIT 200
    ) AND state IN ('withheld', 'released', 'taken_down')
    RETURNING job_id
    """
)
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
        try:
            await expire_once(studio)
        except (SQLAlchemyError, OSError) as error:
            log.warning("expire.waits", error=type(error).__name__)
        await asyncio.sleep(EVERY_S)


async def expire_once(studio: Studio) -> None:
    """One round over everything that ends by time."""
    async with studio.db.transaction() as session:
        await ledger.expire_grants(session)
    async with studio.db.transaction() as session:
        job_ids = sorted({row.job_id for row in await session.execute(_EXPIRE_ARTIFACTS)})
        if job_ids:
            await outbox.put(session, [OutboxEvent(consumer=Consumer.SWEEP, subject=j) for j in job_ids])
    async with studio.db.transaction() as session:
        await outbox.sweep(session, older_than=OUTBOX_KEPT)
        for statement in (_OLD_KEYS, _OLD_SESSIONS, _OLD_LINKS):
            await session.execute(statement)
    while await grant_monthly_credits(studio) == MONTHLY_BATCH:
        pass
