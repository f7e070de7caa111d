"""A job whose rows make no order, now or later: it fails, so that it holds up nobody else."""

from backend import metrics
from backend.db import outbox
from backend.db.models import Job
from backend.db.repositories import jobs
from backend.domain.attempt import AttemptState, Cause
from backend.domain.events import Consumer, OutboxEvent
from backend.log import get_logger
from backend.services.fail_job import fail_job
from backend.studio import Studio

log = get_logger(__name__)


async def fail_unbuildable_job(studio: Studio, job_id: str, what: str) -> None:
    """End the job and its live attempt, and release its hold. Does nothing if it moved on. `what` is for the log."""
    async with studio.db.transaction() as session:
        # The job first, as everywhere, then its attempt, then its hold.
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None:
            return
        attempt = await jobs.live_attempt(session, job_id, lock=True)
        if not await fail_job(
            session,
            job,
            code=Cause.BAD_ORDER.value,
            message="Something that this clip is made of is gone or can't be read. You were not charged.",
        ):
            return
        if attempt is not None:
            await jobs.end_attempt(
                session,
                attempt,
                AttemptState.FAILED,
                cause=Cause.BAD_ORDER,
                message="The order can't be made.",
            )
        event = OutboxEvent(consumer=Consumer.DISPATCH, subject=job_id)
        await outbox.put(session, [event], trace_id=job.trace_id)
    metrics.unbuildable_orders.inc()
    log.error("order.unbuildable", job_id=job_id, what=what)
    await studio.wakeups.account_changed(job.account_id, job_id)
