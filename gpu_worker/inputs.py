"""What an order needs before it can run: its creator's images, and the checkpoint to go on from."""

import asyncio

from backend.contracts import MAX_CHECKPOINT_BYTES, FailureCause
from backend.domain.upload import MAX_KEPT_BYTES
from backend.log import get_logger
from gpu_worker.attempt import AttemptRun
from gpu_worker.checkpoint import BadCheckpointError, Checkpoint
from gpu_worker.engine import ConditioningImage, RenderRequest
from gpu_worker.images import BadImageError, fit_image
from gpu_worker.objects import ObjectClient, ObjectError, ObjectMismatchError, ObjectTooLargeError

log = get_logger(__name__)


class RefusedError(Exception):
    """An order that can't be carried out here, or by anyone."""

    def __init__(self, cause: FailureCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


async def fetch_request(objects: ObjectClient, run: AttemptRun) -> RenderRequest:
    """What the engine is to render. Raises `RefusedError` and `ObjectError`."""
    spec = run.order.spec
    images = []
    for conditioning in spec.conditioning:
        frame_index = conditioning.frame_index + (spec.num_frames if conditioning.frame_index < 0 else 0)
        if not 0 <= frame_index < spec.num_frames:
            raise RefusedError(
                FailureCause.BAD_ORDER,
                f"frame_index {conditioning.frame_index} is outside the clip's {spec.num_frames} frames",
            )
        try:
            data = await objects.get(
                conditioning.image, limit_bytes=MAX_KEPT_BYTES, sha256=conditioning.sha256
            )
            pixels = await asyncio.to_thread(fit_image, data, spec.width, spec.height)
        except (BadImageError, ObjectMismatchError, ObjectTooLargeError) as error:
            raise RefusedError(FailureCause.BAD_INPUT, str(error)) from error
        images.append(
            ConditioningImage(pixels=pixels, frame_index=frame_index, strength=conditioning.strength)
        )
    return RenderRequest(
        spec=spec,
        images=tuple(images),
        checkpoint=await _fetch_checkpoint(objects, run),
        saves_memory=run.order.saves_memory,
    )


async def _fetch_checkpoint(objects: ObjectClient, run: AttemptRun) -> Checkpoint | None:
    resume = run.order.resume
    if resume is None:
        return None
    if resume.identity != run.identity:
        log.info("checkpoint.of_another_worker", job_id=run.order.job_id, attempt=run.order.attempt_id)
        return None
    try:
        data = await objects.get(resume.checkpoint, limit_bytes=MAX_CHECKPOINT_BYTES, sha256=resume.sha256)
        return await asyncio.to_thread(Checkpoint.from_bytes, data)
    except (ObjectError, BadCheckpointError) as error:
        log.warning("checkpoint.unreadable", job_id=run.order.job_id, reason=str(error))
        return None
