"""A job as its owner sees it, in the browser and over the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Artifact, Feedback, Job
from backend.domain.artifact import ArtifactKind, ArtifactState
from backend.domain.generation import ENDS, ON_WORKER, SHOWS_PREVIEW, InputVerdict, JobState
from backend.domain.spec import GenerationSpec
from backend.services.stop_cost import cost_of, stop_steps


@dataclass(frozen=True, kw_only=True)
class PlaceView:
    """Place in the queue and when the clip will be done. Seconds from now. `position` counts from 1.

    `paced`: on a worker, and the seconds follow from its own steps.
    """

    position: int | None
    of: int
    p50_s: float | None
    p90_s: float | None
    reason: str
    paced: bool = False


@dataclass(frozen=True, kw_only=True)
class JobView:
    """One job. `progress` is 0-100 and never falls; `preview` names a preview frame's version, if there is one.

    `stop_cost`: credits that stopping it now would cost, for `stop_steps` steps.
    """

    id: str
    account_id: str
    kind: str
    parent_id: str | None
    model: str
    prompt: str
    negative_prompt: str
    size: str
    width: int
    height: int
    seconds: str
    num_frames: int
    fps: int
    seed: int
    num_inference_steps: int
    guidance_scale: float
    has_image: bool
    state: JobState
    version: int
    input_verdict: InputVerdict
    phase: str
    steps_done: int
    progress: int
    preview: str | None
    quoted: int
    charged: int | None
    error_code: str | None
    error_message: str | None
    clause: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    released: bool
    favourite: bool
    rating: int
    stop_steps: int = 0
    stop_cost: int = 0
    place: PlaceView | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDS

    @property
    def held(self) -> int:
        """Credits set aside for it now."""
        return 0 if self.ended else self.quoted


def progress_of(job: Job) -> int:
    """0-100: rendering is all but the last hundredth, which is release."""
    if job.state == JobState.COMPLETED:
        return 100
    if job.steps <= 0:
        return 0
    # Rendered once is rendered: what is made again, its clip being refused, shows no less.
    if job.rendered_at is not None or job.steps_done >= job.steps:
        return 99
    return min(98, job.steps_done * 98 // job.steps)


def _preview_of(job: Job) -> str | None:
    if job.preview_key is None or job.state not in SHOWS_PREVIEW:
        return None
    return f"{job.fence}-{job.preview_version}"


def view_of(
    job: Job, *, clip: Artifact | None = None, feedback: Feedback | None = None, stop_steps: int = 0
) -> JobView:
    """A view from rows that were loaded: the job, its video if there is one, and what the asker thinks of it."""
    shown = clip is not None and clip.released_at is not None
    spec = GenerationSpec.from_json(job.spec)
    return JobView(
        id=job.id,
        account_id=job.account_id,
        kind=job.kind,
        parent_id=job.parent_id,
        model=job.recipe,
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        size=spec.size,
        width=spec.width,
        height=spec.height,
        seconds=job.seconds,
        num_frames=spec.num_frames,
        fps=spec.fps,
        seed=spec.seed,
        num_inference_steps=job.steps,
        guidance_scale=spec.guidance_scale,
        has_image=bool(spec.conditioning),
        state=JobState(job.state),
        version=job.version,
        input_verdict=InputVerdict(job.input_verdict),
        phase=job.phase if JobState(job.state) in ON_WORKER else "",
        steps_done=job.steps_done,
        progress=progress_of(job),
        preview=_preview_of(job),
        quoted=job.quoted,
        charged=job.charged,
        error_code=job.error_code,
        error_message=job.error_message,
        clause=job.clause,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        expires_at=clip.expires_at if clip is not None and shown else None,
        released=clip is not None and clip.state == ArtifactState.RELEASED,
        favourite=feedback.favourite if feedback else False,
        rating=feedback.rating if feedback else 0,
        stop_steps=stop_steps,
        stop_cost=cost_of(job, stop_steps),
    )


async def views_of(session: AsyncSession, jobs: Sequence[Job], *, user_id: str) -> list[JobView]:
    """Views with what serving and feedback say, in two queries for all, and one for those that run."""
    ids = [job.id for job in jobs]
    if not ids:
        return []
    clips = {
        row.job_id: row
        for row in await session.exec(
            select(Artifact).where(col(Artifact.job_id).in_(ids), Artifact.kind == ArtifactKind.VIDEO.value)
        )
    }
    feedback = {
        row.job_id: row
        for row in await session.exec(
            select(Feedback).where(col(Feedback.job_id).in_(ids), Feedback.user_id == user_id)
        )
    }
    steps = await stop_steps(session, jobs)
    return [
        view_of(
            job,
            clip=clips.get(job.id),
            feedback=feedback.get(job.id),
            stop_steps=steps.get(job.id, 0),
        )
        for job in jobs
    ]
