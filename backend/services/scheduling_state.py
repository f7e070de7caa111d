"""What the scheduler reads of the database: jobs that wait, attempts that live, workers, measured speeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any

from sqlalchemy import Row, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Attempt, Worker
from backend.db.repositories.tiers import load_tiers
from backend.domain.attempt import LIVE
from backend.domain.generation import ON_WORKER, JobState
from backend.domain.scheduling import QueuedJob
from backend.domain.shares import TierShare
from backend.domain.tiers import Tier
from backend.recipes import CATALOGUE
from backend.studio import Studio

_JOBS = """
    SELECT j.id, j.account_id, j.tier, j.recipe, j.needs_memory_gb, j.gpu_s, j.state, j.steps, j.steps_done,
           extract(epoch FROM j.created_at)::float8 AS created_s, (j.checkpoint->>'step')::integer AS checkpoint_step,
           a.id AS attempt_id, a.worker_id, a.slot
    FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id AND a.state = ANY(:live)
    WHERE j.state = ANY(:active) AND j.input_verdict = 'allow' {which}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobNow:
    """A job as the scheduler must know it. `attempt_id` and `worker_id` are those of its live attempt."""

    job: QueuedJob
    waiting: bool
    attempt_id: str | None
    worker_id: str | None
    slot: str | None
    done: float


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Measured over expected time, median and 90th percentile, and seconds from render to release likewise."""

    p50: float
    p90: float
    after_p50_s: float
    after_p90_s: float


FIRST_SPEEDS = Speeds(p50=1.0, p90=1.5, after_p50_s=1.0, after_p90_s=3.0)


async def read_shares(studio: Studio) -> tuple[dict[str, TierShare], dict[str, Tier]]:
    """Tiers' claims on GPU time."""
    async with studio.db.reading() as session:
        tiers = await load_tiers(session)
    shares = {
        name: TierShare(weight=tier.weight, floor=tier.floor, ceiling_s=tier.ceiling.total_seconds())
        for name, tier in tiers.items()
    }
    return shares, tiers


async def read_jobs(
    session: AsyncSession, tiers: dict[str, Tier], job_ids: Sequence[str] | None = None
) -> dict[str, JobNow]:
    """These jobs (None: all that wait or are on a worker) as they are now; others are absent.

    Rows, not objects: a new leader reads a million of them.
    """
    parameters: dict[str, object] = {
        "active": [JobState.QUEUED.value, *[s.value for s in ON_WORKER]],
        "live": [s.value for s in LIVE],
    }
    which = ""
    if job_ids is not None:
        which, parameters["ids"] = "AND j.id = ANY(:ids)", list(job_ids)
    rows = await session.execute(text(_JOBS.format(which=which)), parameters)
    return {row.id: _job_now(row, tiers) for row in rows}


async def read_workers(session: AsyncSession) -> Sequence[Worker]:
    """Workers that were alive when last heard of."""
    return (
        await session.exec(select(Worker).where(col(Worker.state).in_(["live", "draining", "quarantined"])))
    ).all()


async def read_speeds(studio: Studio) -> Speeds:
    """From the newest 200 finished attempts and jobs; 1.0 and a small margin while there are none."""
    async with studio.db.reading() as session:
        ratios = (
            await session.execute(
                text(
                    """
                    SELECT percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY ratio) FROM (
                        SELECT extract(epoch FROM a.ended_at - a.started_at) / greatest(j.gpu_s, 0.01) AS ratio
                        FROM attempts a JOIN jobs j ON j.id = a.job_id
                        WHERE a.state = 'done' AND a.resumed_from_step = 0
                        ORDER BY a.ended_at DESC LIMIT 200) recent
                    """
                )
            )
        ).scalar_one()
        after = (
            await session.execute(
                text(
                    """
                    SELECT percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY s) FROM (
                        SELECT extract(epoch FROM ended_at - rendered_at) AS s FROM jobs
                        WHERE state = 'completed' ORDER BY ended_at DESC LIMIT 200) recent
                    """
                )
            )
        ).scalar_one()
    p50, p90 = ratios or (1.0, 1.5)
    after_p50, after_p90 = after or (1.0, 3.0)
    return Speeds(p50=float(p50), p90=float(p90), after_p50_s=float(after_p50), after_p90_s=float(after_p90))


async def read_rendered(session: AsyncSession, job_ids: Sequence[str]) -> set[str]:
    """Those of these jobs whose clip is there, judged or not."""
    if not job_ids:
        return set()
    rows = await session.execute(
        text("SELECT id FROM jobs WHERE id = ANY(:ids) AND rendered_at IS NOT NULL"), {"ids": list(job_ids)}
    )
    return set(rows.scalars())


async def promote_next(studio: Studio, attempt_id: str) -> None:
    """What lay in a worker's next slot is now what it runs."""
    async with studio.db.transaction() as session:
        await session.execute(
            update(Attempt)
            .where(col(Attempt.id) == attempt_id, col(Attempt.state).in_([s.value for s in LIVE]))
            .values(slot="run")
            .execution_options(synchronize_session=False)
        )


def _job_now(row: Row[Any], tiers: dict[str, Tier]) -> JobNow:
    recipe = CATALOGUE.get(row.recipe)
    tier = tiers.get(row.tier)
    left = 1.0
    if row.checkpoint_step is not None and row.steps:
        left = max(0.0, 1 - row.checkpoint_step / row.steps)
    return JobNow(
        job=QueuedJob(
            job_id=row.id,
            account_id=intern(row.account_id),
            tier=intern(row.tier),
            recipe=intern(row.recipe),
            memory_gb=max(recipe.memory_gb if recipe else 0.0, row.needs_memory_gb),
            gpu_s=row.gpu_s * left,
            submitted_s=row.created_s,
            concurrency_limit=tier.concurrency_limit if tier else 1,
            load_s=recipe.cost.load_s if recipe else 0.0,
        ),
        waiting=row.state == JobState.QUEUED,
        attempt_id=row.attempt_id,
        worker_id=row.worker_id,
        slot=row.slot,
        done=row.steps_done / row.steps if row.steps else 0.0,
    )
