"""Take a job out of its owner's sight, and its bytes out of serving; a running one is cancelled first."""

from sqlalchemy import func, update
from sqlmodel import col

from backend.auth.principal import Principal
from backend.db import outbox
from backend.db.models import Artifact, Job
from backend.domain.artifact import ArtifactState
from backend.domain.events import Consumer, OutboxEvent
from backend.services.cancel_generation import cancel_in
from backend.services.get_generation import load_own
from backend.studio import Studio


async def delete_generation(studio: Studio, principal: Principal, job_id: str) -> None:
    """Delete. From the commit on nothing of it is served; the bytes are swept after. Raises `NotFound`."""
    async with studio.db.transaction() as session:
        job = await load_own(session, principal, job_id)
        await session.refresh(job, with_for_update=True)
        await cancel_in(session, job)
        await session.execute(
            update(Job)
            .where(col(Job.id) == job_id)
            .values(deleted_at=func.now())
            .execution_options(synchronize_session=False)
        )
        await session.execute(
            update(Artifact)
            .where(
                col(Artifact.job_id) == job_id,
                col(Artifact.state).not_in([ArtifactState.DELETED.value, ArtifactState.EXPIRED.value]),
            )
            .values(state=ArtifactState.DELETED.value)
            .execution_options(synchronize_session=False)
        )
        await outbox.put(
            session, [OutboxEvent(consumer=Consumer.SWEEP, subject=job_id)], trace_id=job.trace_id
        )
    await studio.wakeups.account_changed(principal.account_id, job_id)
