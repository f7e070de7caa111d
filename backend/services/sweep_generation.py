"""The bytes of a job that ended: what is deleted, expired, or was never to be shown goes out of storage."""

from sqlalchemy import func, update
from sqlmodel import col, select

from backend.db.models import Artifact, Job
from backend.db.repositories import jobs
from backend.domain.artifact import ArtifactState
from backend.domain.generation import ENDS
from backend.services.locate_artifact import released_prefix
from backend.studio import Studio

_GONE = (ArtifactState.DELETED.value, ArtifactState.EXPIRED.value)


async def sweep_generation(studio: Studio, job_id: str) -> None:
    """Delete objects whose artifact is gone, and all that attempts left beside them. May run again at any time."""
    async with studio.db.reading() as session:
        job = await jobs.load(session, job_id)
        if job is None or job.state not in ENDS:
            return
        kept = set(
            await session.exec(
                select(Artifact.key).where(Artifact.job_id == job_id, col(Artifact.state).not_in(_GONE))
            )
        )
    for prefix in (f"jobs/{job_id}/", released_prefix(job_id)):
        async for info in studio.storage.list_objects(prefix):
            if info.key not in kept:
                await studio.storage.delete(info.key)
    async with studio.db.transaction() as session:
        await session.execute(
            update(Artifact)
            .where(
                col(Artifact.job_id) == job_id,
                col(Artifact.state).in_(_GONE),
                col(Artifact.swept_at).is_(None),
            )
            .values(swept_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
        await session.execute(
            update(Job)
            .where(col(Job.id) == job_id)
            .values(preview_key=None)
            .execution_options(synchronize_session=False)
        )
