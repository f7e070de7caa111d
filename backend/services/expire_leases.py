"""The reaper: attempts whose lease ran out are lost, unless a report lies beside their clip.

The caller has been leader, with workers' messages arriving, for one whole lease (`jobs/reap.py`).
"""

from sqlalchemy import func, text, update
from sqlmodel import col, select

from backend.contracts import Report
from backend.db.models import Attempt, Worker
from backend.domain.attempt import LEASE, LIVE, AttemptState
from backend.log import get_logger
from backend.services.accept_report import accept_report
from backend.services.build_order import attempt_prefix
from backend.services.return_job import return_job
from backend.storage import ObjectNotFound, ObjectTooLarge
from backend.studio import Studio

log = get_logger(__name__)
MAX_REPORT_BYTES = 256 * 1024


async def expire_leases(studio: Studio, *, limit: int = 100) -> int:
    """Return the jobs of attempts whose lease has ended; returns how many there were."""
    async with studio.db.transaction() as session:
        await session.execute(
            update(Worker)
            .where(
                col(Worker.state).in_(["live", "draining"]),
                col(Worker.heartbeat_at)
                < func.clock_timestamp() - text(f"interval '{LEASE.total_seconds()} seconds'"),
            )
            .values(state="gone", resident=[], loading=None)
            .execution_options(synchronize_session=False)
        )
        expired = (
            await session.exec(
                select(Attempt)
                .where(
                    col(Attempt.state).in_([*LIVE]), col(Attempt.lease_expires_at) < func.clock_timestamp()
                )
                .limit(limit)
            )
        ).all()
    for attempt in expired:
        report = await _report_beside_clip(studio, attempt)
        if report is not None:
            await accept_report(studio, report)
            continue
        async with studio.db.transaction() as session:
            fresh = await session.get(Attempt, attempt.id)
            still = await session.scalar(
                select(col(Attempt.lease_expires_at) < func.clock_timestamp()).where(Attempt.id == attempt.id)
            )
            job = None
            if fresh is not None and still:
                job = await return_job(
                    session, fresh, AttemptState.LOST, cause="lease_lost", message="The worker fell silent."
                )
        if job is not None:
            log.warning("attempt.lost", job_id=job.id, attempt=attempt.id, worker_id=attempt.worker_id)
            await studio.wakeups.account_changed(job.account_id, job.id)
    return len(expired)


async def _report_beside_clip(studio: Studio, attempt: Attempt) -> Report | None:
    key = attempt_prefix(attempt.job_id, attempt.fence) + "report.json"
    try:
        report = Report.model_validate_json(await studio.storage.get_bytes(key, limit_bytes=MAX_REPORT_BYTES))
    except (ObjectNotFound, ObjectTooLarge, ValueError):
        return None
    return report if report.attempt_id == attempt.id else None
