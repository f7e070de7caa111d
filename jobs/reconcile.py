"""Finds what fell through: a job whose next step nobody was told of is told of again."""

import asyncio

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.log import get_logger
from backend.studio import Studio

log = get_logger(__name__)

EVERY_S = 20.0

# A job that has been in such a state for a minute and has no open event for the step that leads out of it.
_FIND = text(
    """
    INSERT INTO outbox (consumer, subject, payload, trace_id)
    SELECT step.consumer, j.id, '{}', j.trace_id
    FROM jobs j
    JOIN (VALUES ('queued', 'pending', 'screen_input'), ('queued', 'allow', 'dispatch'),
                 ('moderating', NULL, 'moderate'), ('approved', NULL, 'publish')
         ) AS step(state, input_verdict, consumer)
      ON step.state = j.state AND (step.input_verdict IS NULL OR step.input_verdict = j.input_verdict)
    WHERE j.state IN ('queued','assigned','running','moderating','in_review','approved')
      AND coalesce(j.rendered_at, j.created_at) < now() - interval '1 minute'
      AND NOT EXISTS (
        SELECT 1 FROM outbox o WHERE o.consumer = step.consumer AND o.subject = j.id
          AND (o.done_at IS NULL OR o.done_at > now() - interval '1 minute'))
    LIMIT 1000
    RETURNING consumer
    """
)


async def reconcile(studio: Studio) -> None:
    """Reconcile for ever."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await reconcile_once(studio)
        except (SQLAlchemyError, OSError) as error:
            log.warning("reconcile.waits", error=type(error).__name__)


async def reconcile_once(studio: Studio) -> int:
    """One round; returns how many events had to be written again."""
    async with studio.db.transaction() as session:
        found = (await session.execute(_FIND)).all()
    if found:
        log.warning("reconcile.found", count=len(found), consumers=sorted({row.consumer for row in found}))
    return len(found)
