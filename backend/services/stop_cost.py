"""What stopping a job now would cost: the steps of the attempt that runs it. What a lost attempt did is not paid."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Attempt, Job
from backend.domain import pricing
from backend.domain.attempt import LIVE
from backend.domain.generation import JobState


async def stop_steps(session: AsyncSession, jobs: Sequence[Job]) -> dict[str, int]:
    """By job, the steps that stopping it now would charge for; jobs that would cost nothing are absent.

    An attempt that goes on from a checkpoint counts from the clip's beginning. Before it begins, and in review,
    nothing is charged.
    """
    running = {job.id: job.steps for job in jobs if job.state == JobState.RUNNING}
    if not running:
        return {}
    rows = await session.exec(
        select(Attempt.job_id, Attempt.steps_done).where(
            col(Attempt.job_id).in_(running), col(Attempt.state).in_([*LIVE])
        )
    )
    return {job_id: min(done, running[job_id]) for job_id, done in rows if done > 0}


def cost_of(job: Job, steps: int) -> int:
    """Credits for that many steps of it: a share of its quote."""
    return pricing.partial_charge(job.quoted, steps_done=steps, steps=job.steps)
