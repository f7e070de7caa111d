"""The gauges of the whole studio, read from the database when somebody asks for them."""

from sqlalchemy import text

from backend import metrics
from backend.domain.events import Consumer
from backend.studio import Studio

_READ = text(
    """
    SELECT 'jobs' AS what, state AS name, tier, count(*)::float AS value FROM jobs
    WHERE state IN ('queued','assigned','running','moderating','in_review','approved') GROUP BY state, tier
    UNION ALL
    SELECT 'workers', state, '', count(*) FROM workers WHERE state <> 'removed' GROUP BY state
    UNION ALL
    SELECT 'heartbeat', '', '', extract(epoch FROM clock_timestamp() - min(heartbeat_at)) FROM workers
    WHERE state NOT IN ('gone', 'removed') HAVING count(*) > 0
    UNION ALL
    SELECT 'pending', consumer, '', count(*) FROM outbox
    WHERE done_at IS NULL AND (tries > 0 OR available_at <= now()) GROUP BY consumer
    UNION ALL
    SELECT 'oldest', consumer, '',
           extract(epoch FROM now() - min(CASE WHEN tries > 0 THEN created_at ELSE available_at END)) FROM outbox
    WHERE done_at IS NULL AND (tries > 0 OR available_at <= now()) GROUP BY consumer
    UNION ALL
    SELECT 'cases', '', '', count(*) FROM review_cases WHERE state = 'open'
    """
)


async def measure_studio(studio: Studio) -> None:
    """Set the gauges of `metrics.STUDIO`. What was measured before is forgotten first, also where this fails.

    Raises what the database's driver raises while it is away.
    """
    _forget()
    async with studio.db.reading() as session:
        rows = (await session.execute(_READ)).all()
    for consumer in Consumer:
        metrics.outbox_pending.labels(consumer.value).set(0)
        metrics.outbox_oldest_age.labels(consumer.value).set(0)
    for row in rows:
        match row.what:
            case "jobs":
                metrics.jobs_by_state.labels(row.name, row.tier).set(row.value)
            case "workers":
                metrics.workers.labels(row.name).set(row.value)
            case "heartbeat":
                metrics.worker_heartbeat_age.set(row.value)
            case "pending":
                metrics.outbox_pending.labels(row.name).set(row.value)
            case "oldest":
                metrics.outbox_oldest_age.labels(row.name).set(row.value)
            case "cases":
                metrics.review_cases_open.set(row.value)


def _forget() -> None:
    for labelled in (
        metrics.jobs_by_state,
        metrics.workers,
        metrics.outbox_pending,
        metrics.outbox_oldest_age,
    ):
        labelled.clear()
    for single in (metrics.worker_heartbeat_age, metrics.review_cases_open):
        single.set(float("nan"))
