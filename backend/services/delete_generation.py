"""Take a job out of its owner's sight, and its bytes out of storage; one that can be cancelled is cancelled first."""

import asyncio

from sqlalchemy import func, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from backend.auth.principal import Principal
from backend.db import outbox
from backend.db.models import Artifact, Job
from backend.db.repositories import artifacts
from backend.domain.artifact import ArtifactState
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import ENDS, JobState
from backend.log import get_logger
from backend.services.cancel_generation import cancel_in
from backend.services.get_generation import load_own
from backend.services.sweep_generation import sweep_generation
from backend.storage import StorageError
from backend.studio import Studio

log = get_logger(__name__)

SWEEP_WITHIN_S = 5.0


async def delete_generation(studio: Studio, principal: Principal, job_id: str) -> None:
    """Delete. From the commit on nothing of it is served by this studio. Raises `NotFound`.

    A clip that waits for its verdict is judged all the same, out of sight: it is charged if it could have been shown,
    and its bytes go then. What was blocked stays withheld until the keeping of evidence ends.
    Bytes go at once, because a bucket's own signed URLs ask nobody; what can't be deleted now is swept after.
    """
    async with studio.db.transaction() as session:
        job = await load_own(session, principal, job_id)
        await cancel_in(session, job)
        await session.execute(
            update(Job)
            .where(col(Job.id) == job_id)
            .values(deleted_at=func.now())
            .execution_options(synchronize_session=False)
        )
        if JobState(job.state) in ENDS - {JobState.BLOCKED}:
            await artifacts.move(session, ArtifactState.DELETED, col(Artifact.job_id) == job_id)
        await outbox.put(
            session, [OutboxEvent(consumer=Consumer.SWEEP, subject=job_id)], trace_id=job.trace_id
        )
    await _sweep_now(studio, job_id)
    await studio.wakeups.account_changed(principal.account_id, job_id)


async def _sweep_now(studio: Studio, job_id: str) -> None:
    try:
        async with asyncio.timeout(SWEEP_WITHIN_S):
            await sweep_generation(studio, job_id)
    except (StorageError, SQLAlchemyError, OSError, TimeoutError) as error:
        log.warning("delete.sweep_waits", job_id=job_id, error=type(error).__name__)
