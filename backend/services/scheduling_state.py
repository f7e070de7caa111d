"""What the scheduler reads of the database: jobs that wait, attempts that live, workers, measured speeds."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from sys import intern
from typing import Any

from sqlalchemy import Row, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.engine import Database
from backend.db.models import Attempt, Worker
from backend.db.repositories.tiers import load_tiers
from backend.domain.attempt import LIVE, Cause
from backend.domain.generation import ON_WORKER, JobState
from backend.domain.pace import Made, Paces
from backend.domain.quantiles import usual_and_late
from backend.domain.retry import may_share_batch
from backend.domain.scheduling import QueuedJob
from backend.domain.shares import TierShare
from backend.domain.tiers import Tier
from backend.domain.worker import HEARD
from backend.recipes import CATALOGUE
from backend.studio import Studio

_JOB = """
    j.id, j.account_id, j.tier, j.recipe, j.needs_memory_gb, j.gpu_s, j.steps,
    extract(epoch FROM j.created_at)::float8 AS created_s, (j.checkpoint->>'step')::integer AS checkpoint_step,
    CASE WHEN j.recipe = ANY(CAST(:batched AS text[])) AND j.checkpoint IS NULL AND NOT j.saves_memory
          AND j.spec->'conditioning' = '[]'::jsonb AND NOT EXISTS (
              SELECT 1 FROM attempts f WHERE f.job_id = j.id AND f.cause = ANY(CAST(:alone_after AS text[])))
         THEN concat_ws('/', j.recipe_revision, j.spec->>'width', j.spec->>'height', j.spec->>'num_frames',
                        j.spec->>'num_inference_steps', j.spec->>'guidance_scale')
         ELSE '' END AS batch_key
"""
_JOBS = f"""
    SELECT {_JOB}, j.state, coalesce(a.steps_done, 0) AS own_steps_done, a.id AS attempt_id, a.worker_id, a.slot
    FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id AND a.state = ANY(:live)
    WHERE j.state = ANY(:states) AND j.input_verdict = 'allow' {{which}}
"""
_WAITING = text(
    f"""
    SELECT {_JOB}, j.created_at FROM jobs j
    WHERE j.state = 'queued' AND j.input_verdict = 'allow' AND (j.created_at, j.id) > (:created_at, :id)
    ORDER BY j.created_at, j.id LIMIT :limit
    """
)

_LIVE = {"live": [state.value for state in LIVE]}
_ALONE_AFTER = [cause.value for cause in Cause if not may_share_batch([cause])]
_ON_WORKER = [state.value for state in ON_WORKER]

PAGE = 1000
"""Rows of a page: some milliseconds of the event loop, which must renew the term meanwhile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobNow:
    """A job as the scheduler must know it. `attempt_id` and `worker_id` are those of its live attempt.

    `done`: which share of the job's `gpu_s`, that is of what its checkpoint leaves to do, that attempt did.
    """

    job: QueuedJob
    waiting: bool
    attempt_id: str | None
    worker_id: str | None
    slot: str | None
    done: float


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Measured paces, and seconds from render to release: median and 90th percentile."""

    paces: Paces
    after_p50_s: float
    after_p90_s: float


_RECENT = 60
_LOADED_S = 0.1
"""Seconds of loading from which an attempt's time says nothing of the next one's."""

_MADE = text(
    f"""
    SELECT j.recipe, j.recipe_revision, j.gpu_s, j.steps, a.steps_s,
           greatest(0.0, a.span_s / a.batch_size - a.steps_s) AS around_s
    FROM (SELECT id FROM workers WHERE state = ANY (:heard)
          ORDER BY heartbeat_at DESC LIMIT 50) w
    CROSS JOIN LATERAL (
        SELECT job_id, state, ended_at, batch_size, resumed_from_step,
               extract(epoch FROM ended_at - started_at)::float8 AS span_s,
               (timings->>'denoise_s')::float8 AS steps_s, coalesce((timings->>'load_s')::float8, 0) AS load_s
        FROM attempts WHERE worker_id = w.id AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT {_RECENT}
    ) a
    CROSS JOIN LATERAL (SELECT recipe, recipe_revision, gpu_s, steps FROM jobs WHERE id = a.job_id LIMIT 1) j
    WHERE a.state = 'done' AND a.span_s IS NOT NULL AND a.steps_s > 0 AND a.resumed_from_step = 0
      AND a.load_s <= :loaded_s
    ORDER BY a.ended_at DESC
    """
)
"""The last attempts of each of the workers that were heard last: what a rare model took is not pushed out by others."""

FIRST_SPEEDS = Speeds(paces=Paces(), after_p50_s=1.0, after_p90_s=3.0)


async def read_shares(studio: Studio) -> tuple[dict[str, TierShare], dict[str, Tier]]:
    """Tiers' claims on GPU time."""
    async with studio.db.reading() as session:
        tiers = await load_tiers(session)
    shares = {name: TierShare.of(tier) for name, tier in tiers.items()}
    return shares, tiers


async def read_jobs(
    session: AsyncSession, tiers: Mapping[str, Tier], job_ids: Sequence[str]
) -> dict[str, JobNow]:
    """Those of these jobs that wait or are on a worker, as they are now; others are absent."""
    parameters = {
        **_LIVE,
        **_batching(),
        "states": [JobState.QUEUED.value, *_ON_WORKER],
        "ids": list(job_ids),
    }
    rows = await session.execute(text(_JOBS.format(which="AND j.id = ANY(:ids)")), parameters)
    return {row.id: _job_now(row, tiers) for row in rows}


async def read_jobs_on_workers(session: AsyncSession, tiers: Mapping[str, Tier]) -> list[JobNow]:
    """All jobs that are on a worker."""
    rows = await session.execute(text(_JOBS.format(which="")), {**_LIVE, **_batching(), "states": _ON_WORKER})
    return [_job_now(row, tiers) for row in rows]


async def read_waiting(db: Database, tiers: Mapping[str, Tier]) -> AsyncIterator[list[QueuedJob]]:
    """All jobs that may be dispatched, oldest first, a page at a time: a new leader reads a million of them.

    Each page is a statement of its own, so that no time-out and no snapshot spans them. Who is told of changes since
    the first page has them all.
    """
    after: dict[str, object] = {"created_at": datetime(1, 1, 2, tzinfo=UTC), "id": ""}
    while True:
        async with db.single() as session:
            rows = (await session.execute(_WAITING, {**after, **_batching(), "limit": PAGE})).all()
        if rows:
            after = {"created_at": rows[-1].created_at, "id": rows[-1].id}
            yield [_queued_job(row, tiers) for row in rows]
        if len(rows) < PAGE:
            return


async def read_workers(session: AsyncSession) -> Sequence[Worker]:
    """Workers that were alive when last heard of."""
    return (await session.exec(select(Worker).where(col(Worker.state).in_([*HEARD])))).all()


async def read_speeds(studio: Studio) -> Speeds:
    """From the newest attempts and jobs that finished. A clip for which the model was loaded first says nothing of the
    next: it is left out. Those that shared a pass took their share of it."""
    async with studio.db.reading() as session:
        made = [
            clip
            for row in await session.execute(_MADE, {"loaded_s": _LOADED_S, "heard": [*HEARD]})
            if (clip := _made(row)) is not None
        ]
        after = (
            await session.execute(
                text(
                    """
                    SELECT extract(epoch FROM ended_at - rendered_at)::float8 FROM jobs
                    WHERE state = 'completed' AND rendered_at IS NOT NULL ORDER BY ended_at DESC LIMIT :recent
                    """
                ),
                {"recent": _RECENT},
            )
        ).scalars()
        afters = usual_and_late(after, FIRST_SPEEDS.after_p50_s, FIRST_SPEEDS.after_p90_s)
    return Speeds(paces=Paces(made), after_p50_s=afters[0], after_p90_s=afters[1])


def _made(row: Row[Any]) -> Made | None:
    """None: of a recipe that this release does not know so, or without any declared step."""
    recipe = CATALOGUE.get(row.recipe)
    if recipe is None or recipe.revision != row.recipe_revision or row.gpu_s <= recipe.cost.base_gpu_s:
        return None
    return Made(
        recipe=row.recipe,
        gpu_s=row.gpu_s,
        base_gpu_s=recipe.cost.base_gpu_s,
        step_gpu_s=recipe.cost.step_gpu_s(row.gpu_s, row.steps),
        steps_s=row.steps_s,
        around_s=row.around_s,
    )


async def read_rendered(session: AsyncSession, job_ids: Sequence[str]) -> set[str]:
    """Those of these jobs whose clip is there, judged or not."""
    if not job_ids:
        return set()
    rows = await session.execute(
        text("SELECT id FROM jobs WHERE id = ANY(:ids) AND rendered_at IS NOT NULL"), {"ids": list(job_ids)}
    )
    return set(rows.scalars())


async def promote_next(studio: Studio, attempt_ids: Sequence[str]) -> None:
    """What lay in a worker's next slot is now what it runs."""
    async with studio.db.transaction() as session:
        await session.execute(
            update(Attempt)
            .where(
                col(Attempt.id).in_(attempt_ids),
                col(Attempt.state).in_([s.value for s in LIVE]),
                col(Attempt.slot) != "run",
            )
            .values(slot="run")
            .execution_options(synchronize_session=False)
        )


def _batching() -> dict[str, object]:
    """Of which recipes jobs may share a pass, and after which failures a job may not."""
    batched = [name for name, recipe in CATALOGUE.items() if recipe.max_batch > 1]
    return {"batched": batched, "alone_after": _ALONE_AFTER}


def _done(row: Row[Any]) -> float:
    kept = row.checkpoint_step or 0
    return max(0, row.own_steps_done - kept) / (row.steps - kept) if row.steps > kept else 0.0


def _job_now(row: Row[Any], tiers: Mapping[str, Tier]) -> JobNow:
    return JobNow(
        job=_queued_job(row, tiers),
        waiting=row.state == JobState.QUEUED,
        attempt_id=row.attempt_id,
        worker_id=row.worker_id,
        slot=row.slot,
        done=_done(row),
    )


def _queued_job(row: Row[Any], tiers: Mapping[str, Tier]) -> QueuedJob:
    """From the columns of `_JOB`, by place: names cost a million rows a second and a half."""
    (
        job_id,
        account_id,
        tier_name,
        recipe_name,
        needs_memory_gb,
        gpu_s,
        steps,
        created_s,
        checkpoint_step,
        batch_key,
    ) = tuple(row)[:10]
    recipe = CATALOGUE.get(recipe_name)
    tier = tiers.get(tier_name)
    left = 1.0
    if checkpoint_step is not None and steps:
        left = max(0.0, 1 - checkpoint_step / steps)
    return QueuedJob(
        job_id=job_id,
        account_id=intern(account_id),
        tier=intern(tier_name),
        recipe=intern(recipe_name),
        memory_gb=max(recipe.memory_gb if recipe else 0.0, needs_memory_gb),
        gpu_s=gpu_s * left,
        submitted_s=created_s,
        concurrency_limit=tier.concurrency_limit if tier else 1,
        load_s=recipe.cost.load_s if recipe else 0.0,
        step_gpu_s=recipe.cost.step_gpu_s(gpu_s, steps) if recipe else 0.0,
        batch_key=intern(batch_key),
    )
