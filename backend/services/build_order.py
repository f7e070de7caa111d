"""An attempt's order, made from rows alone, so that it can be sent again at any time and by any leader."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from pydantic import ValidationError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import (
    MAX_CHECKPOINT_BYTES,
    MAX_CLIP_BYTES,
    MAX_PICTURE_BYTES,
    MAX_PREVIEW_BYTES,
    MAX_REPORT_BYTES,
    Batch,
    CheckpointRef,
    Conditioning,
    Order,
    OrderObjects,
    RenderSpec,
    ResumeFrom,
    SignedObject,
)
from backend.db.models import Attempt, Job, Upload
from backend.domain.object_keys import AttemptFile, attempt_file, own_checkpoints
from backend.domain.spec import GenerationSpec, UnreadableSpec
from backend.log import get_logger
from backend.recipes import CATALOGUE
from backend.storage import BadKey, Reader
from backend.studio import Studio

log = get_logger(__name__)

URL_TTL = timedelta(hours=1)
"""Of an order's signed URLs. While its attempt lives the order is sent again, with fresh ones, every `RENEWED_AFTER`;
so this is how long a worker can still write once its attempt has ended."""
RENEWED_AFTER = timedelta(minutes=20)
"""Leaves a leader that is away, or a worker that can't hear, 40 minutes to come back before an upload is refused."""
_WRITTEN = (
    (AttemptFile.CLIP, "video/mp4", MAX_CLIP_BYTES),
    (AttemptFile.THUMBNAIL, "image/webp", MAX_PICTURE_BYTES),
    (AttemptFile.SPRITESHEET, "image/webp", MAX_PICTURE_BYTES),
    (AttemptFile.PREVIEW, "image/webp", MAX_PREVIEW_BYTES),
    (AttemptFile.REPORT, "application/json", MAX_REPORT_BYTES),
    (AttemptFile.CHECKPOINT_A, "application/octet-stream", MAX_CHECKPOINT_BYTES),
    (AttemptFile.CHECKPOINT_B, "application/octet-stream", MAX_CHECKPOINT_BYTES),
)
CHECKPOINT_EVERY_S = 20.0
"""For a recipe that this process doesn't know (its worker may be of a newer release)."""


class UnbuildableOrder(Exception):
    """The job's rows make no order, now or later: its spec can't be read, or an image of it is gone."""


def own_checkpoint(job: Job, fence: int, said: CheckpointRef | None) -> dict[str, object] | None:
    """What a worker says of a checkpoint, for the job's row: believed of the two objects that its order named alone.

    None: it says nothing, or names another object, or a step that the job hasn't.
    """
    if said is None or said.step > job.steps:
        return None
    return said.model_dump(mode="json") if said.key in own_checkpoints(job.id, fence) else None


def spec_of(job: Job) -> GenerationSpec:
    """The job's spec. Raises `UnbuildableOrder`."""
    try:
        return GenerationSpec.from_json(job.spec)
    except UnreadableSpec as error:
        raise UnbuildableOrder(str(error)) from error


async def load_uploads(session: AsyncSession, spec: GenerationSpec) -> dict[str, Upload]:
    """The images that a job is conditioned on, by id. Raises `UnbuildableOrder` where one is gone."""
    rows = await session.exec(select(Upload).where(col(Upload.id).in_(spec.upload_ids)))
    found = {row.id: row for row in rows}
    if missing := set(spec.upload_ids) - found.keys():
        raise UnbuildableOrder(f"there is no upload {sorted(missing)[0]!r}")
    return found


async def build_order(
    studio: Studio, job: Job, attempt: Attempt, spec: GenerationSpec, uploads: Mapping[str, Upload]
) -> Order:
    """The order, with fresh signed URLs. Only signs; touches no database.

    Raises `UnbuildableOrder`, and `StorageUnavailable` while nothing can be signed.
    """
    recipe = CATALOGUE.get(job.recipe)
    clip, thumbnail, spritesheet, preview, report, checkpoint_a, checkpoint_b = await asyncio.gather(
        *(_writable(studio, job.id, attempt.fence, *written) for written in _WRITTEN)
    )
    conditioning = [
        Conditioning(
            image=await _image(studio, uploads[image.upload_id]),
            sha256=uploads[image.upload_id].sha256,
            frame_index=image.frame_index,
            strength=image.strength,
        )
        for image in spec.conditioning
    ]
    return Order(
        attempt_id=attempt.id,
        job_id=job.id,
        fence=attempt.fence,
        worker_id=attempt.worker_id,
        recipe=job.recipe,
        recipe_revision=job.recipe_revision,
        spec=RenderSpec(
            prompt=job.prompt,
            negative_prompt=job.negative_prompt,
            width=spec.width,
            height=spec.height,
            num_frames=spec.num_frames,
            fps=spec.fps,
            num_inference_steps=spec.num_inference_steps,
            guidance_scale=spec.guidance_scale,
            seed=spec.seed,
            conditioning=tuple(conditioning),
        ),
        objects=OrderObjects(
            clip=clip,
            thumbnail=thumbnail,
            spritesheet=spritesheet,
            preview=preview,
            report=report,
            checkpoint_a=checkpoint_a,
            checkpoint_b=checkpoint_b,
        ),
        resume=await _resume(studio, job),
        checkpoint_every_s=recipe.checkpoint_every_s if recipe is not None else CHECKPOINT_EVERY_S,
        saves_memory=attempt.saves_memory,
        batch=Batch(id=attempt.batch, size=attempt.batch_size) if attempt.batch is not None else None,
        trace_id=job.trace_id,
    )


async def _resume(studio: Studio, job: Job) -> ResumeFrom | None:
    """The checkpoint to go on from. None: there is none, or none that can be read; then the job begins again."""
    if job.checkpoint is None:
        return None
    try:
        kept = CheckpointRef.model_validate(job.checkpoint)
        readable = await _readable(studio, kept.key)
    except (ValidationError, BadKey):
        log.warning("checkpoint.unreadable", job_id=job.id)
        return None
    return ResumeFrom(checkpoint=readable, sha256=kept.sha256, step=kept.step, identity=kept.identity)


async def _image(studio: Studio, upload: Upload) -> SignedObject:
    try:
        return await _readable(studio, upload.key)
    except BadKey as error:
        raise UnbuildableOrder(f"upload {upload.id!r} has no object's key") from error


async def _writable(
    studio: Studio, job_id: str, fence: int, file: AttemptFile, content_type: str, max_bytes: int
) -> SignedObject:
    key = attempt_file(job_id, fence, file)
    signed = await studio.storage.signed_put(key, ttl=URL_TTL, content_type=content_type, max_bytes=max_bytes)
    return SignedObject(key=key, put_url=signed.url, put_headers=signed.headers)


async def _readable(studio: Studio, key: str) -> SignedObject:
    return SignedObject(
        key=key, get_url=await studio.storage.signed_get(key, ttl=URL_TTL, reader=Reader.WORKER)
    )
