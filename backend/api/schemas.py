"""The wire: the Video object of the `openai` client, with what is ours beside it."""

from calendar import timegm
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.domain.generation import InputVerdict, JobState
from backend.recipes import Recipe
from backend.services.job_view import JobView

_IN_PROGRESS_TYPICAL_POLL_MS = 1_000
_REVIEW_POLL_MS = 15_000
_LONGEST_POLL_MS = 10_000


class Out(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class ErrorOut(Out):
    """Why a job ended without a clip."""

    code: str
    message: str


class EtaOut(Out):
    """Seconds from now until the clip is there: half of all are sooner than p50, nine of ten sooner than p90."""

    p50_seconds: float
    p90_seconds: float


class CostOut(Out):
    """Credits: what was quoted, what is set aside now, what was charged (null until the end)."""

    quoted: int
    held: int
    charged: int | None


class ModerationOut(Out):
    """`state`: pending, in_review, passed or blocked; `clause` names the rule."""

    state: Literal["pending", "in_review", "passed", "blocked"]
    clause: str | None = None


class VideoOut(Out):
    """A generation job as the `openai` client knows it, and more."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int
    created_at: int
    completed_at: int | None = None
    expires_at: int | None = None
    error: ErrorOut | None = None
    prompt: str
    remixed_from_video_id: str | None = None
    seconds: str
    size: str
    state: str
    queue_position: int | None = None
    queue_length: int | None = None
    waiting_reason: str | None = None
    eta: EtaOut | None = None
    cost: CostOut
    moderation: ModerationOut
    parent_id: str | None = None
    negative_prompt: str = ""
    seed: int
    num_inference_steps: int
    guidance_scale: float
    num_frames: int
    fps: int
    steps_done: int
    phase: str = ""


class VideoPageOut(Out):
    """One page; ask for the next with `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[VideoOut]
    has_more: bool
    first_id: str | None
    last_id: str | None


class VideoDeletedOut(Out):
    """A video is gone."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


class RangeOut(Out):
    """An allowed range with its default."""

    low: float
    high: float
    default: float


class WholeRangeOut(Out):
    """An allowed range of whole numbers with its default."""

    low: int
    high: int
    default: int


class ModelOut(Out):
    """A model and the values it takes."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "zoetrope"
    title: str
    summary: str
    licence: str
    sizes: list[str]
    seconds: list[str]
    fps: int
    num_inference_steps: WholeRangeOut
    guidance_scale: RangeOut
    capabilities: list[str]
    max_prompt_chars: int
    knows: str = ""
    examples: list[str] = Field(default_factory=list)


class ModelPageOut(Out):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelOut]


def video_out(view: JobView) -> VideoOut:
    """A job on the wire."""
    place = view.place
    eta = None
    if place is not None and place.p50_s is not None and place.p90_s is not None:
        eta = EtaOut(p50_seconds=round(place.p50_s, 1), p90_seconds=round(place.p90_s, 1))
    return VideoOut(
        id=view.id,
        model=view.model,
        status=_status(view),
        progress=view.progress,
        created_at=int(view.created_at.timestamp()),
        completed_at=_seconds(view.ended_at) if view.state is JobState.COMPLETED else None,
        expires_at=_seconds(view.expires_at),
        error=_error(view),
        prompt=view.prompt,
        remixed_from_video_id=view.parent_id if view.kind == "remix" else None,
        seconds=view.seconds,
        size=view.size,
        state=view.state.value,
        queue_position=place.position if place and view.state is JobState.QUEUED else None,
        queue_length=place.of if place and view.state is JobState.QUEUED else None,
        waiting_reason=place.reason or None if place and view.state is JobState.QUEUED else None,
        eta=eta,
        cost=CostOut(quoted=view.quoted, held=view.held, charged=view.charged if view.ended else None),
        moderation=_moderation(view),
        parent_id=view.parent_id,
        negative_prompt=view.negative_prompt,
        seed=view.seed,
        num_inference_steps=view.num_inference_steps,
        guidance_scale=view.guidance_scale,
        num_frames=view.num_frames,
        fps=view.fps,
        steps_done=view.steps_done,
        phase=view.phase,
    )


def poll_after_ms(view: JobView) -> int:
    """How long a client does well to wait between two looks at this job."""
    if view.ended:
        return _IN_PROGRESS_TYPICAL_POLL_MS
    if _moderation(view).state == "in_review":
        return _REVIEW_POLL_MS
    if view.place is None or view.place.p50_s is None:
        return _IN_PROGRESS_TYPICAL_POLL_MS
    # A twentieth of the wait: at most 5 % late, and no thousand looks at a job that waits for hours.
    return int(min(_LONGEST_POLL_MS, max(500, view.place.p50_s * 1000 / 20)))


def model_out(recipe: Recipe) -> ModelOut:
    """A recipe on the wire."""
    return ModelOut(
        id=recipe.name,
        created=timegm(recipe.released.timetuple()),
        title=recipe.title,
        summary=recipe.summary,
        licence=recipe.licence,
        sizes=[str(size) for size in recipe.sizes],
        seconds=[length.seconds for length in recipe.lengths],
        fps=recipe.fps,
        num_inference_steps=WholeRangeOut(
            low=recipe.steps.low, high=recipe.steps.high, default=recipe.steps.default
        ),
        guidance_scale=RangeOut(
            low=recipe.guidance.low, high=recipe.guidance.high, default=recipe.guidance.default
        ),
        capabilities=sorted(capability.value for capability in recipe.capabilities),
        max_prompt_chars=recipe.max_prompt_chars,
        knows=recipe.knows,
        examples=list(recipe.examples),
    )


def _status(view: JobView) -> Literal["queued", "in_progress", "completed", "failed"]:
    match view.state:
        case JobState.COMPLETED:
            return "completed"
        case JobState.FAILED | JobState.BLOCKED | JobState.CANCELLED:
            return "failed"
        case JobState.QUEUED | JobState.ASSIGNED if view.started_at is None:
            return "queued"
        case _:
            return "in_progress"


def _error(view: JobView) -> ErrorOut | None:
    match view.state:
        case JobState.FAILED:
            return ErrorOut(
                code=view.error_code or "generation_failed",
                message=view.error_message or "The clip could not be made. You were not charged.",
            )
        case JobState.BLOCKED:
            return ErrorOut(
                code="moderation_blocked",
                message=view.error_message or "Stopped by the rules of this studio. You were not charged.",
            )
        case JobState.CANCELLED:
            return ErrorOut(code="cancelled", message=view.error_message or "Cancelled by its owner.")
        case _:
            return None


def _moderation(view: JobView) -> ModerationOut:
    match view.state:
        case JobState.BLOCKED:
            return ModerationOut(state="blocked", clause=view.clause)
        case JobState.IN_REVIEW:
            return ModerationOut(state="in_review", clause=view.clause)
        case JobState.APPROVED | JobState.COMPLETED:
            return ModerationOut(state="passed")
        case JobState.QUEUED if view.input_verdict is InputVerdict.REVIEW:
            return ModerationOut(state="in_review", clause=view.clause)
        case _:
            return ModerationOut(state="pending")


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
