"""The attempts at a job, for its owner: what happened to it, without a word about machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backend.auth.principal import Principal
from backend.db.models import Attempt
from backend.db.repositories import jobs
from backend.domain.attempt import AttemptState, Cause
from backend.services.get_generation import load_own
from backend.studio import Studio


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """One attempt. `cause` says why it ended without a clip.

    It went on from `resumed_from_step`, and `steps_done` counts from the clip's beginning. `exact`: the resume gives
    the very bits of an undisturbed run. `moved`: it ran on another worker than the attempt before it.
    """

    number: int
    state: AttemptState
    cause: Cause | None
    ordered_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    resumed_from_step: int
    steps_done: int
    exact: bool
    moved: bool
    saves_memory: bool


async def list_attempts(studio: Studio, principal: Principal, job_id: str) -> Sequence[AttemptView]:
    """First to last. Raises `NotFound`, also for other accounts' jobs."""
    async with studio.db.reading() as session:
        await load_own(session, principal, job_id)
        attempts = await jobs.attempts_of(session, job_id)
    return [_view(attempt, attempts[index - 1] if index else None) for index, attempt in enumerate(attempts)]


def _view(attempt: Attempt, before: Attempt | None) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        state=AttemptState(attempt.state),
        cause=Cause(attempt.cause) if attempt.cause else None,
        ordered_at=attempt.ordered_at,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        resumed_from_step=attempt.resumed_from_step,
        steps_done=attempt.steps_done,
        exact=attempt.exact_resume,
        moved=before is not None and before.worker_id != attempt.worker_id,
        saves_memory=attempt.saves_memory,
    )
