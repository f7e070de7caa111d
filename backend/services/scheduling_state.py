"""What the scheduler reads of the database: jobs that wait, attempts that live, workers, measured speeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Attempt, Job, Worker
from backend.db.repositories.tiers import load_tiers
from backend.domain.attempt import LIVE
from backend.domain.generation import ON_WORKER, JobState
from backend.domain.scheduling import QueuedJob, TierShare
from backend.domain.tiers import Tier
from backend.recipes import CATALOGUE
from backend.studio import Studio


@dataclass(frozen=True, kw_only=True)
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


async def read_shares(studio: Studio) -> tuple[dict[str, TierShare], dict[str, Tier]]:
    """Tiers' claims on GPU time."""
    async with studio.db.reading() as session:
        tiers = await load_tiers(session)
    return {n: TierShare(weight=t.weight, floor=t.floor) for n, t in tiers.items()}, tiers


async def read_jobs(
    session: AsyncSession, tiers: dict[str, Tier], job_ids: Sequence[str] | None = None
) -> dict[str, JobNow]:
    """These jobs (None: all that wait or are on a worker) as they are now; others are absent."""
    active = [JobState.QUEUED.value, *[s.value for s in ON_WORKER]]
    query = (
        select(Job, Attempt)
        .outerjoin(
            Attempt,
            (col(Attempt.job_id) == col(Job.id)) & col(Attempt.state).in_([s.value for s in LIVE]),
        )
        .where(col(Job.state).in_(active), Job.input_verdict == "allow")
        .order_by(col(Job.created_at), col(Job.id))
    )
    if job_ids is not None:
        query = query.where(col(Job.id).in_(job_ids))
    return {job.id: _job_now(job, attempt, tiers) for job, attempt in await session.exec(query)}


async def read_workers(session: AsyncSession) -> Sequence[Worker]:
    """Workers that were alive when last heard of."""
    return (await session.exec(select(Worker).where(col(Worker.state).in_(["live", "draining"])))).all()


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


async def promote_next(studio: Studio, attempt_id: str) -> None:
    """What lay in a worker's next slot is now what it runs."""
    async with studio.db.transaction() as session:
        await session.execute(
            update(Attempt)
            .where(col(Attempt.id) == attempt_id, col(Attempt.state).in_([s.value for s in LIVE]))
            .values(slot="run")
            .execution_options(synchronize_session=False)
        )


def _job_now(job: Job, attempt: Attempt | None, tiers: dict[str, Tier]) -> JobNow:
    recipe = CATALOGUE.get(job.recipe)
    tier = tiers.get(job.tier)
    left = 1.0
    checkpoint_step = (job.checkpoint or {}).get("step")
    if isinstance(checkpoint_step, int) and job.steps:
        left = max(0.0, 1 - checkpoint_step / job.steps)
    return JobNow(
        job=QueuedJob(
            job_id=job.id,
            account_id=job.account_id,
            tier=job.tier,
            recipe=job.recipe,
            memory_gb=max(recipe.memory_gb if recipe else 0.0, job.needs_memory_gb),
            gpu_s=job.gpu_s * left,
            submitted_s=job.created_at.timestamp(),
            concurrency_limit=tier.concurrency_limit if tier else 1,
        ),
        waiting=job.state == JobState.QUEUED,
        attempt_id=attempt.id if attempt else None,
        worker_id=attempt.worker_id if attempt else None,
        slot=attempt.slot if attempt else None,
        done=job.steps_done / job.steps if job.steps else 0.0,
    )
