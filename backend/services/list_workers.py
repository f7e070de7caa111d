"""The workers that may come in, and how each is, for the operator at the command line."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from backend.domain.worker import WorkerState
from backend.studio import Studio

MOST = 1000

_WORKERS = text(
    """
    SELECT id, state, recipes, resident, boot_id <> '' AS heard,
           now() - heartbeat_at AS silence, drain_requested OR state = 'draining' AS draining,
           CASE WHEN quarantined_until > now() THEN quarantined_until - now() END AS rests_for, quarantine_reason
    FROM workers WHERE state <> 'removed'
    ORDER BY id LIMIT :most
    """
)


@dataclass(frozen=True, kw_only=True)
class ListedWorker:
    """A worker. `silence` None: never heard; `rests_for`: how long it is still quarantined, and why."""

    id: str
    state: WorkerState
    recipes: tuple[str, ...]
    resident: tuple[str, ...]
    silence: timedelta | None
    draining: bool
    rests_for: timedelta | None
    quarantine_reason: str


async def list_workers(studio: Studio) -> list[ListedWorker]:
    """By name, `MOST` of them at most; those that were removed are left out."""
    async with studio.db.reading() as session:
        rows = (await session.execute(_WORKERS, {"most": MOST})).mappings().all()
    return [
        ListedWorker(
            id=row["id"],
            state=WorkerState(row["state"]),
            recipes=tuple(row["recipes"]),
            resident=tuple(row["resident"]),
            silence=row["silence"] if row["heard"] else None,
            draining=row["draining"],
            rests_for=row["rests_for"],
            quarantine_reason=row["quarantine_reason"],
        )
        for row in rows
    ]
