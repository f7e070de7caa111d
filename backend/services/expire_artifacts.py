"""What nobody may see any more because its time is over: released clips after their retention, evidence after its."""

from sqlalchemy import func
from sqlmodel import col, select

from backend.db import outbox
from backend.db.models import Artifact
from backend.db.repositories import artifacts
from backend.domain.artifact import ArtifactState, sources_of
from backend.domain.events import Consumer, OutboxEvent
from backend.studio import Studio


async def expire_artifacts(studio: Studio, *, limit: int = 600) -> bool:
    """End the oldest `limit` that are due, and have their bytes swept. True: there may be more."""
    async with studio.db.transaction() as session:
        due = (
            await session.exec(
                select(Artifact.id, Artifact.job_id)
                .where(
                    col(Artifact.expires_at) < func.now(),
                    col(Artifact.state).in_([*sources_of(ArtifactState.EXPIRED)]),
                )
                .order_by(col(Artifact.expires_at))
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
        ).all()
        await artifacts.move(session, ArtifactState.EXPIRED, col(Artifact.id).in_([row[0] for row in due]))
        await outbox.put(
            session,
            [
                OutboxEvent(consumer=Consumer.SWEEP, subject=job_id)
                for job_id in dict.fromkeys(row[1] for row in due)
            ],
        )
    return len(due) == limit
