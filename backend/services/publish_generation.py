"""The end of a good job: charged, released and completed in one transaction.

What is served lies under a key that no worker ever had a URL for: a worker may still write to its attempt's objects
after the verdict.
"""

import hashlib
import secrets
from datetime import timedelta
from pathlib import PurePosixPath

from sqlalchemy import func, text, update
from sqlmodel import col, select

from backend.db import outbox
from backend.db.models import Artifact, Job, Verdict
from backend.db.repositories import jobs, ledger
from backend.db.repositories.tiers import load_tiers
from backend.domain.artifact import ArtifactState
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import JobEvent, JobState
from backend.services.fail_damaged_clip import fail_damaged_clip
from backend.services.locate_artifact import released_prefix
from backend.storage import ObjectNotFound
from backend.studio import Studio


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
    keys = {artifact.id: await _copy_for_serving(studio, artifact) for artifact in judged}
    async with studio.db.transaction() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or job.state != JobState.APPROVED:
            return
        artifacts = (await session.exec(select(Artifact).where(Artifact.job_id == job_id))).all()
        allowed = set(
            await session.exec(
                select(Verdict.sha256).where(
                    Verdict.job_id == job_id, Verdict.stage == "output", Verdict.verdict == "allow"
                )
            )
        )
        if not artifacts or any(artifact.sha256 not in allowed for artifact in artifacts):
            raise UnjudgedBytes(job_id)
        await ledger.end_hold(session, job_id, charge=job.quoted, reason="completed")
        for artifact in artifacts:
            released = artifact.state == ArtifactState.WITHHELD
            await session.execute(
                update(Artifact)
                .where(col(Artifact.id) == artifact.id)
                .values(
                    key=keys[artifact.id],
                    state=ArtifactState.RELEASED.value if released else artifact.state,
                    released_at=func.clock_timestamp() if released else None,
                )
                .execution_options(synchronize_session=False)
            )
        tier = (await load_tiers(session)).get(job.tier)
        retention = tier.retention if tier else timedelta(days=30)
        expires_at = await session.scalar(
            select(func.clock_timestamp() + text(f"interval '{int(retention.total_seconds())} seconds'"))
        )
        await jobs.move(session, job, JobEvent.PUBLISHED, charged=job.quoted, expires_at=expires_at)
        await outbox.put(
            session, [OutboxEvent(consumer=Consumer.SWEEP, subject=job_id)], trace_id=job.trace_id
        )
    await studio.wakeups.account_changed(job.account_id, job_id)


async def _copy_for_serving(studio: Studio, artifact: Artifact) -> str:
    """Copy to a key of our own, and check that the copy is what was judged. Raises `UnjudgedBytes`.

    Each copy has a name of its own, so that a second publisher can't touch what the first one released; the sweep
    takes what no row names.
    """
    name = f"{artifact.kind}-{secrets.token_hex(8)}{PurePosixPath(artifact.key).suffix}"
    target = released_prefix(artifact.job_id) + name
    await studio.storage.copy(artifact.key, target)
    digest = hashlib.sha256()
    async for chunk in studio.storage.stream(target):
        digest.update(chunk)
    if digest.hexdigest() != artifact.sha256:
        await studio.storage.delete(target)
        raise UnjudgedBytes(f"{artifact.kind} of {artifact.job_id}")
    return target
