"""A worker's standing after one of its attempts ended: trusted, resting, or on probation.

It follows from the attempts alone, so judging twice, or after a restart of everything, gives the same.
"""

from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.domain.attempt import LEASE, AttemptState
from backend.domain.quarantine import Takes, Trial, judge, takes
from backend.domain.retry import Blame, blame_of
from backend.domain.worker import IN_SERVICE
from backend.log import get_logger
from backend.studio import Studio

log = get_logger(__name__)

# A clip that nobody has looked at yet tells nothing. What the same job met with elsewhere too was the job's doing, and
# tells nothing of this worker.
_TRIALS = text(
    """
    SELECT a.job_id, a.state, a.cause, a.boot_id, a.ended_at,
           EXISTS (SELECT 1 FROM attempts o WHERE o.job_id = a.job_id AND o.cause = a.cause
                   AND o.worker_id <> a.worker_id) AS elsewhere
    FROM attempts a
    WHERE a.worker_id = :worker_id AND a.ended_at IS NOT NULL
      AND NOT (a.state = 'done' AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = a.job_id AND j.fence = a.fence
                                            AND j.state = 'moderating'))
    ORDER BY a.ended_at DESC, a.fence DESC LIMIT 40
    """
)
_LAST = text(
    """
    SELECT EXISTS (
        SELECT 1 FROM unnest(w.recipes) AS served(recipe) WHERE NOT EXISTS (
            SELECT 1 FROM workers o WHERE o.id <> w.id AND o.state = 'live'
              AND o.heartbeat_at > clock_timestamp() - make_interval(secs => :lease_s)
              AND served.recipe = ANY (o.recipes)))
    FROM workers w WHERE w.id = :worker_id
    """
)
_SAVE = text(
    """
    UPDATE workers SET quarantined_until = :until, quarantine_reason = :reason,
        state = CASE WHEN state NOT IN ('live', 'quarantined') THEN state
                     WHEN CAST(:until AS timestamptz) IS NULL THEN 'live' ELSE 'quarantined' END
    WHERE id = :worker_id
      AND (quarantined_until IS DISTINCT FROM :until OR quarantine_reason <> :reason)
    RETURNING id
    """
)
_RESTING = text(
    "SELECT id FROM workers WHERE quarantined_until IS NOT NULL"
    " AND heartbeat_at > clock_timestamp() - make_interval(secs => :lease_s) ORDER BY id LIMIT 200"
)
_STANDINGS = text("SELECT id, state, quarantined_until, clock_timestamp() AS now FROM workers")


async def trials_of(session: AsyncSession, worker_id: str) -> list[Trial]:
    """The worker's last attempts that tell something about it, newest first."""
    rows = await session.execute(_TRIALS, {"worker_id": worker_id})
    trials = []
    for row in rows:
        good = row.state == AttemptState.DONE
        blame = blame_of(row.cause or "")
        if good or blame is Blame.WORKER or (blame is Blame.UNCLEAR and not row.elsewhere):
            trials.append(
                Trial(
                    job_id=row.job_id,
                    good=good,
                    cause=row.cause or "",
                    boot_id=row.boot_id,
                    ended_at=row.ended_at,
                )
            )
    return trials


async def judge_worker(session: AsyncSession, worker_id: str) -> None:
    """Judge it in the caller's transaction, after all else: lock order is job, attempt, hold, grants, worker."""
    boot_id = await session.scalar(
        text("SELECT boot_id FROM workers WHERE id = :worker_id"), {"worker_id": worker_id}
    )
    if boot_id is None:
        return
    last = await session.scalar(_LAST, {"worker_id": worker_id, "lease_s": LEASE.total_seconds()})
    standing = judge(await trials_of(session, worker_id), boot_id=boot_id, last=bool(last))
    saved = await session.execute(
        _SAVE,
        {"worker_id": worker_id, "until": standing.rests_until, "reason": standing.reason},
    )
    if saved.one_or_none() is None:
        return
    if standing.rests_until is None:
        log.info("worker.trusted", worker_id=worker_id)
    else:
        log.warning(
            "worker.quarantined",
            worker_id=worker_id,
            until=standing.rests_until.isoformat(),
            reason=standing.reason,
        )


async def judge_resting_workers(studio: Studio) -> None:
    """Judge those that rest again: one that is the last of its kind by now, or was started again, rests less."""
    async with studio.db.single() as session:
        resting = (await session.execute(_RESTING, {"lease_s": LEASE.total_seconds()})).scalars().all()
    for worker_id in resting:
        async with studio.db.transaction() as session:
            await judge_worker(session, worker_id)


def takes_now(state: str, quarantined_until: datetime | None, now: datetime) -> Takes:
    """What a worker may be given by its row; `now` is the database's."""
    if state not in IN_SERVICE:
        return Takes.NOTHING
    return takes(quarantined_until, now=now)


async def read_standings(studio: Studio) -> dict[str, Takes]:
    """What each worker may be given now, for the dispatcher: ONE is a single job on probation, in the run slot."""
    async with studio.db.single() as session:
        rows = (await session.execute(_STANDINGS)).all()
    return {row.id: takes_now(row.state, row.quarantined_until, row.now) for row in rows}
