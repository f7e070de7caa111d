"""Have a worker take nothing new and finish what it has, before its host is worked on; and let it take jobs again."""

from sqlalchemy import update
from sqlmodel import col

from backend.db.models import AuditEntry, Worker
from backend.domain.errors import NotFound
from backend.studio import Studio


async def drain_worker(studio: Studio, worker_id: str) -> None:
    """It hears so by its next heartbeat; what it is given before that it finishes too. Raises `NotFound`."""
    await _want(studio, worker_id, drain=True, action="worker.drained")


async def resume_worker(studio: Studio, worker_id: str) -> None:
    """It takes jobs again from its next heartbeat on. Raises `NotFound`."""
    await _want(studio, worker_id, drain=False, action="worker.resumed")


async def _want(studio: Studio, worker_id: str, *, drain: bool, action: str) -> None:
    async with studio.db.transaction() as session:
        known = await session.execute(
            update(Worker)
            .where(col(Worker.id) == worker_id)
            .values(drain_requested=drain)
            .returning(col(Worker.id))
        )
        if known.one_or_none() is None:
            raise NotFound(f"There is no worker {worker_id!r}.", param="name")
        session.add(AuditEntry(action=action, subject=worker_id))
