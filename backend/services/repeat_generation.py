"""Ask for the same again: the request that made a job, and a new job of it."""

from sqlalchemy import func
from sqlmodel import col, select

from backend.auth.principal import Principal
from backend.db.models import IdempotencyKey, Job
from backend.domain.generation import ENDS
from backend.domain.spec import GenerationSpec
from backend.services.generation_request import ConditioningRequest, GenerationRequest
from backend.services.get_generation import get_generation, load_own
from backend.services.job_view import JobView
from backend.services.submit_generation import submit_generation
from backend.studio import Studio


async def request_of(studio: Studio, principal: Principal, job_id: str) -> GenerationRequest:
    """The request behind a job of the asker's account, every value settled. Raises `NotFound`."""
    async with studio.db.reading() as session:
        job = await load_own(session, principal, job_id)
    return _request(job)


async def repeat_generation(studio: Studio, principal: Principal, job_id: str) -> JobView:
    """A job of the same request, with a price of its own. Raises what `submit_generation` raises.

    Two presses of one button are one wish: while the newest repetition of this job is under way, it is the answer.
    Once that has ended, the next press is a wish of its own.
    """
    request = await request_of(studio, principal, job_id)
    newest = await _newest_repetition(studio, principal, job_id)
    if newest is not None and newest.state not in ENDS and newest.deleted_at is None:
        return await get_generation(studio, principal, newest.id)
    # Presses at the same moment see the same newest one, so their keys are equal and one job comes of them.
    key = f"{_prefix(job_id)}{newest.id if newest is not None else 'first'}"
    return await submit_generation(studio, principal, request, idempotency_key=key)


async def _newest_repetition(studio: Studio, principal: Principal, job_id: str) -> Job | None:
    query = (
        select(Job)
        .join(IdempotencyKey, col(IdempotencyKey.job_id) == col(Job.id))
        .where(
            IdempotencyKey.account_id == principal.account_id,
            func.starts_with(col(IdempotencyKey.key), _prefix(job_id)),
        )
        .order_by(col(IdempotencyKey.created_at).desc())
        .limit(1)
    )
    async with studio.db.reading() as session:
        return (await session.exec(query)).one_or_none()


def _prefix(job_id: str) -> str:
    return f"repeat:{job_id}:"


def _request(job: Job) -> GenerationRequest:
    spec = GenerationSpec.from_json(job.spec)
    return GenerationRequest(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        model=job.recipe,
        size=spec.size,
        seconds=job.seconds,
        seed=spec.seed,
        num_inference_steps=spec.num_inference_steps,
        guidance_scale=spec.guidance_scale,
        conditioning=tuple(
            ConditioningRequest(
                upload_id=image.upload_id, frame_index=image.frame_index, strength=image.strength
            )
            for image in spec.conditioning
        ),
    )
