"""The end of a good job: charged, released and completed in one transaction.

What is served is the copy that was judged, under a key that no worker ever had a URL for.
"""

import hashlib
from datetime import timedelta

from sqlalchemy import func
from sqlmodel import col, select

from backend.db.models import Artifact, Job, Verdict
from backend.db.repositories import artifacts, jobs, ledger
from backend.db.repositories.tiers import load_tiers
from backend.domain.artifact import ArtifactState
from backend.domain.generation import JobEvent, JobState
from backend.domain.object_keys import judged_prefix
from backend.services.fail_damaged_clip import fail_damaged_clip
from backend.storage import ObjectNotFound
from backend.studio import Studio

RETENTION_WITHOUT_TIER = timedelta(days=30)
"""For a job of a tier that is there no more."""


class UnjudgedBytes(Exception):
    """An artifact has no allowing verdict on its very bytes; it is never released."""


async def publish_generation(studio: Studio, job_id: str) -> None:
    """Release an approved job. Does nothing if it was done before.

    A clip whose bytes are gone, or are not the judged ones, fails instead, at no charge.
    """
    try:
        await _publish(studio, job_id)
    except (UnjudgedBytes, ObjectNotFound) as error:
        await fail_damaged_clip(studio, job_id, f"{error} was never judged, or is gone")


async def _publish(studio: Studio, job_id: str) -> None:
    async with studio.db.reading() as session:
        job = await jobs.load(session, job_id)
        if job is None or job.state != JobState.APPROVED:
            return
        judged = (await session.exec(select(Artifact).where(Artifact.job_id == job_id))).all()
    for artifact in judged:
        await _check_bytes(studio, artifact)
    async with studio.db.transaction() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or job.state != JobState.APPROVED:
            return
        allowed = set(
            await session.exec(
                select(Verdict.sha256).where(
                    Verdict.job_id == job_id, Verdict.stage == "output", Verdict.verdict == "allow"
                )
            )
        )
        copy = judged_prefix(job_id)  # a key outside is one that a worker may still write to
        if not judged or any(
            artifact.sha256 not in allowed or not artifact.key.startswith(copy) for artifact in judged
        ):
            raise UnjudgedBytes(job_id)
        await ledger.end_hold(session, job_id, charge=job.quoted, reason="completed")
        of_job = col(Artifact.job_id) == job_id
        if job.deleted_at is not None:
            await artifacts.move(session, ArtifactState.DELETED, of_job)
        else:
            tier = (await load_tiers(session)).get(job.tier)
            retention = tier.retention if tier is not None else RETENTION_WITHOUT_TIER
            await artifacts.move(
                session,
                ArtifactState.RELEASED,
                of_job,
                released_at=func.now(),
                expires_at=func.now() + retention,
            )
        await jobs.move(session, job, JobEvent.PUBLISHED, charged=job.quoted)
    await studio.wakeups.account_changed(job.account_id, job_id)


async def _check_bytes(studio: Studio, artifact: Artifact) -> None:
    """Raises `UnjudgedBytes` where the object is not what was judged, and `ObjectNotFound`."""
    digest = hashlib.sha256()
    async for chunk in studio.storage.stream(artifact.key):
        digest.update(chunk)
    if digest.hexdigest() != artifact.sha256:
        raise UnjudgedBytes(f"{artifact.kind} of {artifact.job_id}")
