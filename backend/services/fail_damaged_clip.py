"""An approved clip whose bytes are gone, or are not the ones that were judged: its job fails."""

from backend.db.models import Job
from backend.log import get_logger
from backend.services.fail_job import fail_job
from backend.studio import Studio

log = get_logger(__name__)


async def fail_damaged_clip(studio: Studio, job_id: str, what: str) -> None:
    """End the job and release its hold. Does nothing if it moved on meanwhile. `what` is for the log."""
    async with studio.db.transaction() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or not await fail_job(
            session,
            job,
            code="storage_error",
            message="The clip was damaged in storage. You were not charged; please try again.",
        ):
            return
    log.error("clip.damaged", job_id=job_id, what=what)
    await studio.wakeups.account_changed(job.account_id, job_id)
