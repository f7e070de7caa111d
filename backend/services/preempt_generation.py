"""Ask the worker of a running job to stop at its next step, so that another job can go before it.

The worker keeps a checkpoint and reports; only then does the job wait again, from that step on. It costs the job no
attempt and no credit. A worker that doesn't stop within its bound keeps the job: the wish ends by itself.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, or_, text, update
from sqlmodel import col

from backend.contracts import Wishes
from backend.db.models import Attempt, Job
from backend.db.repositories import leadership
from backend.domain.attempt import LIVE
from backend.domain.patience import stops_within
from backend.log import get_logger
from backend.services.dispatch_generation import NotLeading, Term
from backend.services.worker_pace import pace_of, stage_of
from backend.services.worker_wishes import wishes_of
from backend.studio import Studio

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Preemption:
    """A wish that was recorded. `wishes` may be sent to the worker at once; `within`: until then the wish holds."""

    attempt_id: str
    job_id: str
    wishes: Wishes
    within: timedelta


async def preempt_generation(studio: Studio, term: Term, *, attempt_id: str) -> Preemption | None:
    """Record the wish, under the leader's term.

    None: the attempt has ended, is nearly done, or is being asked already. Raises `NotLeading`.
    """
    async with studio.db.transaction() as session:
        if not await leadership.holds_term(session, name=term.name, holder=term.holder, term=term.number):
            raise NotLeading
        attempt = await session.get(Attempt, attempt_id)
        job = await session.get(Job, attempt.job_id) if attempt is not None else None
        if attempt is None or job is None:
            return None
        within = stops_within(stage_of(attempt), await pace_of(session, attempt, job))
        if within is None:
            return None
        asked = await session.execute(
            update(Attempt)
            .where(
                col(Attempt.id) == attempt_id,
                col(Attempt.fence) == job.fence,
                col(Attempt.phase) == attempt.phase,
                col(Attempt.state).in_([*LIVE]),
                or_(
                    col(Attempt.preempt_until).is_(None), col(Attempt.preempt_until) < func.clock_timestamp()
                ),
            )
            .values(
                preempt_until=func.clock_timestamp() + text(f"interval '{within.total_seconds()} seconds'")
            )
            .execution_options(synchronize_session=False)
        )
        if getattr(asked, "rowcount", 0) != 1:
            return None
        wishes = await wishes_of(session, attempt.worker_id)
    log.info("job.preempted", job_id=job.id, attempt=attempt_id, worker_id=attempt.worker_id)
    return Preemption(attempt_id=attempt_id, job_id=job.id, wishes=wishes, within=within)
