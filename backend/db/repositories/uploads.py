"""Uploads: which can be named, which are needed, and how much lies about that nothing needs."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import bindparam, func, text, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Upload
from backend.db.models.jobs import HAS_IMAGES
from backend.domain.upload import KEPT_UNUSED, UploadState

# A job needs its images until it ended, a day longer if it may be tried again, while its clip is kept, and as evidence
# of why it was blocked.
_NEEDED = f"""
    EXISTS (
        SELECT 1 FROM jobs j
        WHERE j.{HAS_IMAGES}
          AND j.spec -> 'conditioning' @> jsonb_build_array(jsonb_build_object('upload_id', u.id))
          AND (j.ended_at IS NULL
            OR (j.deleted_at IS NULL AND j.ended_at > now() - CAST(:kept AS interval))
            OR (j.state = 'blocked' AND j.ended_at > now() - CAST(:evidence AS interval))
            OR EXISTS (SELECT 1 FROM artifacts a
                       WHERE a.job_id = j.id AND a.state NOT IN ('deleted', 'expired'))))
"""
_UNUSED_BYTES = text(
    f"SELECT coalesce(sum(u.size_bytes), 0) FROM uploads u WHERE u.account_id = :account_id"
    f" AND u.state IN ('arriving', 'stored') AND NOT {_NEEDED}"
)
# What is still needed is looked at again after a day: the oldest ones never keep the others from their turn.
_LOOK = text(
    f"""
    WITH due AS (
        SELECT id FROM uploads WHERE state IN ('arriving', 'stored') AND touched_at < now() - CAST(:kept AS interval)
        ORDER BY touched_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE uploads u SET touched_at = now(), state = CASE WHEN {_NEEDED} THEN u.state ELSE 'removed' END
    FROM due WHERE u.id = due.id RETURNING u.id
    """
)
_REMOVED = text("SELECT id, key FROM uploads WHERE state = 'removed' ORDER BY touched_at LIMIT :limit")
_FORGET = text(
    "DELETE FROM uploads u WHERE u.id IN :ids AND u.state = 'removed'"
    " AND NOT EXISTS (SELECT 1 FROM verdicts v WHERE v.upload_id = u.id)"
).bindparams(bindparam("ids", expanding=True))


async def take(session: AsyncSession, account_id: str, upload_ids: Collection[str]) -> set[str]:
    """Those of these that the account may name now. None is swept for a day, so that a job can come to name it."""
    taken = await session.execute(
        update(Upload)
        .where(
            col(Upload.id).in_(upload_ids),
            col(Upload.account_id) == account_id,
            col(Upload.state) == UploadState.STORED.value,
        )
        .values(touched_at=func.now())
        .returning(col(Upload.id))
        .execution_options(synchronize_session=False)
    )
    return set(taken.scalars())


async def unused_bytes(session: AsyncSession, account_id: str, *, evidence_kept: timedelta) -> int:
    """What the account's uploads take that no job needs."""
    values = {"account_id": account_id, "kept": KEPT_UNUSED, "evidence": evidence_kept}
    return int((await session.execute(_UNUSED_BYTES, values)).scalar_one())


async def remove_unused(session: AsyncSession, *, evidence_kept: timedelta, limit: int) -> int:
    """Look at the `limit` uploads that were longest untouched: those that no job needs can't be named from now on."""
    looked = await session.execute(_LOOK, {"kept": KEPT_UNUSED, "evidence": evidence_kept, "limit": limit})
    return len(looked.all())


async def removed(session: AsyncSession, *, limit: int) -> dict[str, str]:
    """Keys of removed uploads, by id."""
    return {row.id: row.key for row in await session.execute(_REMOVED, {"limit": limit})}


async def forget(session: AsyncSession, upload_ids: Collection[str]) -> None:
    """Their bytes are gone: so are their rows, but for those that a verdict was given on."""
    await session.execute(_FORGET, {"ids": list(upload_ids)})
    await session.execute(
        update(Upload)
        .where(col(Upload.id).in_(upload_ids), col(Upload.state) == UploadState.REMOVED.value)
        .values(state=UploadState.SWEPT.value)
        .execution_options(synchronize_session=False)
    )
