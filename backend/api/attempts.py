"""`GET /v1/videos/{id}/attempts`: what happened to a job on its way. Ours, beside the client's routes."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Depends

from backend.api.dependencies import Reader, StudioDep
from backend.api.limits import coarse_limit
from backend.api.schemas import Out
from backend.api.videos import VideoId
from backend.services.list_attempts import AttemptView, list_attempts

router = APIRouter(prefix="/v1/videos", tags=["videos"], dependencies=[Depends(coarse_limit)])


class AttemptOut(Out):
    """One try at a clip. `cause` says why it ended without one; null while it runs, and when it was made.

    Steps count from the clip's beginning: it went on from `resumed_from_step`. `exact` is false where the clip may
    differ in bits from one made without interruption.
    """

    object: Literal["video.attempt"] = "video.attempt"
    number: int
    state: str
    cause: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None
    resumed_from_step: int
    steps_done: int
    exact: bool
    moved: bool
    saves_memory: bool


class AttemptsOut(Out):
    """All attempts, first to last. Only those that failed by the job's own fault count against it."""

    object: Literal["list"] = "list"
    data: list[AttemptOut]


@router.get("/{video_id}/attempts")
async def list_video_attempts(principal: Reader, video_id: VideoId, studio: StudioDep) -> AttemptsOut:
    """The attempts at one video: preempted, handed back, lost with a worker, failed, made."""
    return AttemptsOut(
        data=[_attempt_out(attempt) for attempt in await list_attempts(studio, principal, video_id)]
    )


def _attempt_out(attempt: AttemptView) -> AttemptOut:
    return AttemptOut(
        number=attempt.number,
        state=attempt.state.value,
        cause=attempt.cause.value if attempt.cause else None,
        created_at=int(attempt.ordered_at.timestamp()),
        started_at=_seconds(attempt.started_at),
        ended_at=_seconds(attempt.ended_at),
        resumed_from_step=attempt.resumed_from_step,
        steps_done=attempt.steps_done,
        exact=attempt.exact,
        moved=attempt.moved,
        saves_memory=attempt.saves_memory,
    )


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
