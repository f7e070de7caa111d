"""The last sweep of every job that ended: once its workers' signed URLs have ended too, nothing is left behind."""

from sqlalchemy import text

from backend.domain.events import SWEEP_DELAY_S
from backend.services.build_order import URL_TTL
from backend.studio import Studio

LAST_SWEEP_S = URL_TTL.total_seconds() + SWEEP_DELAY_S
"""After this many seconds nobody can have written any more."""

_DUE = text(
    """
    INSERT INTO outbox (consumer, subject, payload, trace_id)
    SELECT 'sweep', j.id, '{}', j.trace_id FROM jobs j
    WHERE j.ended_at < now() - make_interval(secs => :after_s) AND j.swept_at IS NULL
      AND NOT EXISTS (
        SELECT 1 FROM outbox o WHERE o.consumer = 'sweep' AND o.subject = j.id AND o.done_at IS NULL)
    ORDER BY j.ended_at LIMIT :limit
    """
)


async def sweep_ended_jobs(studio: Studio, *, limit: int = 1000) -> bool:
    """Ask for the last sweeps that are due. True: there may be more."""
    async with studio.db.transaction() as session:
        asked = await session.execute(_DUE, {"after_s": LAST_SWEEP_S, "limit": limit})
    return int(getattr(asked, "rowcount", 0)) == limit
