"""One job of the asker's account."""

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.db.models import Job
from backend.db.repositories import jobs
from backend.domain.errors import NotFound
from backend.services.job_view import JobView, views_of
from backend.services.queue_places import with_places
from backend.studio import Studio


async def get_generation(
    studio: Studio, principal: Principal, job_id: str, *, with_place: bool = True
) -> JobView:
    """The job. Raises `NotFound`, also for other accounts' jobs and deleted ones."""
    async with studio.db.reading() as session:
        job = await load_own(session, principal, job_id)
        (view,) = await views_of(session, [job], user_id=principal.user_id)
    return (await with_places(studio, [view]))[0] if with_place else view


async def load_own(session: AsyncSession, principal: Principal, job_id: str) -> Job:
    """The row of a job that the asker's account owns. Raises `NotFound`."""
    job = await jobs.load(session, job_id)
    if job is None or job.account_id != principal.account_id or job.deleted_at is not None:
        raise NotFound(f"There is no video {job_id!r}.", param="video_id")
    return job
