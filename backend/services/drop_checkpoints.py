"""Checkpoints of jobs that wait longer than their tier keeps them: the job begins again when its turn comes."""

from sqlalchemy import text

from backend.domain.object_keys import attempts_prefix, fence_of_checkpoint
from backend.log import get_logger
from backend.studio import Studio

log = get_logger(__name__)

_OLD = text(
    """
    UPDATE jobs SET checkpoint = NULL WHERE id IN (
        SELECT j.id FROM jobs j JOIN tiers t ON t.name = j.tier
        WHERE j.state = 'queued' AND j.checkpoint IS NOT NULL
          AND (SELECT max(a.ended_at) FROM attempts a WHERE a.job_id = j.id)
              < now() - make_interval(secs => t.checkpoint_retention_s)
        LIMIT :limit FOR NO KEY UPDATE OF j SKIP LOCKED
    ) RETURNING id, fence
    """
)


async def drop_checkpoints(studio: Studio, *, limit: int = 100) -> int:
    """Forget them, then delete their bytes; what a crash leaves between is swept when the job ends. Gives how many."""
    async with studio.db.transaction() as session:
        dropped = (await session.execute(_OLD, {"limit": limit})).all()
    for job_id, fence in dropped:
        async for info in studio.storage.list_objects(attempts_prefix(job_id)):
            made_by = fence_of_checkpoint(info.key)
            # A later attempt, begun meanwhile, writes under a fence of its own.
            if made_by is not None and made_by <= fence:
                await studio.storage.delete(info.key)
        log.info("checkpoint.dropped", job_id=job_id)
    return len(dropped)
