"""The bytes of a job that ended: what is deleted, expired, or was never to be shown goes out of storage."""

from datetime import timedelta

from sqlalchemy import case, func, update
from sqlmodel import col, select

from backend.db.models import Artifact, Job
from backend.db.repositories import artifacts, jobs
from backend.domain.artifact import GONE, ArtifactState
from backend.domain.generation import ENDS, JobState
from backend.domain.object_keys import attempts_prefix, judged_prefix
from backend.services.sweep_ended_jobs import LAST_SWEEP_S
from backend.studio import Studio

_OF_NO_USE = frozenset({JobState.FAILED, JobState.CANCELLED})
"""Their clips, if they got that far, are neither shown nor evidence."""


async def sweep_generation(studio: Studio, job_id: str) -> None:
    """Delete all that lies under the job's keys but what is shown or kept as evidence. May run again at any time."""
    async with studio.db.transaction() as session:
        job = await jobs.load(session, job_id)
        if job is None or job.state not in ENDS:
            return
        if job.state in _OF_NO_USE:
            await artifacts.move(session, ArtifactState.EXPIRED, col(Artifact.job_id) == job_id)
        kept = set(
            await session.exec(
                select(Artifact.key).where(Artifact.job_id == job_id, col(Artifact.state).not_in([*GONE]))
            )
        )
    for prefix in (attempts_prefix(job_id), judged_prefix(job_id)):
        async for info in studio.storage.list_objects(prefix):
            if info.key not in kept:
                await studio.storage.delete(info.key)
    async with studio.db.transaction() as session:
        await session.execute(
            update(Artifact)
            .where(
                col(Artifact.job_id) == job_id,
                col(Artifact.state).in_([*GONE]),
                col(Artifact.swept_at).is_(None),
            )
            .values(swept_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
        nobody_writes = col(Job.ended_at) < func.now() - timedelta(seconds=LAST_SWEEP_S)
        await session.execute(
            update(Job)
            .where(col(Job.id) == job_id)
            .values(
                preview_key=None,
                swept_at=case((nobody_writes, func.clock_timestamp()), else_=col(Job.swept_at)),
            )
            .execution_options(synchronize_session=False)
        )
