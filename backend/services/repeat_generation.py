"""Ask for the same again: the request that made a job, and a new job of it."""

from backend.auth.principal import Principal
from backend.db.models import Job
from backend.services.generation_request import ConditioningRequest, GenerationRequest
from backend.services.get_generation import load_own
from backend.services.job_view import JobView
from backend.services.submit_generation import submit_generation
from backend.studio import Studio


async def request_of(studio: Studio, principal: Principal, job_id: str) -> GenerationRequest:
    """The request behind a job of the asker's account, every value settled. Raises `NotFound`."""
    async with studio.db.reading() as session:
        job = await load_own(session, principal, job_id)
    return _request(job)


async def repeat_generation(studio: Studio, principal: Principal, job_id: str) -> JobView:
    """A new job, with a price of its own, of the same request. Raises what `submit_generation` raises."""
    request = await request_of(studio, principal, job_id)
    # Two presses of one button are one wish: the job asked for again names it.
    return await submit_generation(studio, principal, request, idempotency_key=f"repeat:{job_id}")


def _request(job: Job) -> GenerationRequest:
    spec = job.spec
    images = spec.get("conditioning")
    guidance = spec.get("guidance_scale")
    seed = spec.get("seed")
    return GenerationRequest(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        model=job.recipe,
        size=f"{spec.get('width')}x{spec.get('height')}",
        seconds=job.seconds,
        seed=seed if isinstance(seed, int) else None,
        num_inference_steps=job.steps,
        guidance_scale=float(guidance) if isinstance(guidance, int | float) else None,
        conditioning=tuple(
            ConditioningRequest(
                upload_id=str(image["upload_id"]),
                frame_index=int(image.get("frame_index", 0)),
                strength=float(image.get("strength", 1.0)),
            )
            for image in (images if isinstance(images, list) else [])
        ),
    )
