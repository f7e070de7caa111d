"""A clip whose files are not what was ordered or reported: its worker's failure, and the job is tried again."""

from sqlalchemy import delete
from sqlmodel import col, select

from backend.db.models import Artifact, Attempt, Job
from backend.db.repositories import jobs
from backend.domain.attempt import Cause
from backend.domain.generation import JobState
from backend.log import get_logger
from backend.services.return_job import send_on
from backend.studio import Studio

log = get_logger(__name__)


async def refuse_clip(studio: Studio, job_id: str, what: str, *, fence: int) -> None:
    """Fail the attempt that made the clip, and let the job wait again, or fail after too many tries.

    Nothing was judged, so nothing of the clip is kept. Does nothing if the job moved on, or if the clip that waits is
    of another attempt than `fence`. `what` is for the log.
    """
    async with studio.db.transaction() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or job.state != JobState.MODERATING or job.fence != fence:
            return
        made_it = select(Attempt).where(Attempt.job_id == job_id, Attempt.fence == job.fence)
        attempt = (await session.exec(made_it.with_for_update())).one()
        if not await jobs.refuse_attempt(session, attempt, cause=Cause.BAD_CLIP, message=what):
            return
        await session.execute(delete(Artifact).where(col(Artifact.job_id) == job_id))
        await send_on(session, job, attempt, Cause.BAD_CLIP, rendered_at=None)
    log.error("clip.refused", job_id=job_id, attempt=attempt.id, worker_id=attempt.worker_id, what=what)
    await studio.wakeups.account_changed(job.account_id, job_id)
