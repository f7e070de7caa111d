"""An attempt's order, made from rows alone, so that it can be sent again at any time and by any leader."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import cast

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import Conditioning, Order, OrderObjects, RenderSpec, ResumeFrom, SignedObject
from backend.db.models import Attempt, Job, Upload
from backend.domain.attempt import LEASE
from backend.recipes import CATALOGUE
from backend.storage import Reader
from backend.studio import Studio

URL_TTL = timedelta(hours=12)
"""Signed URLs of an order outlive the longest render and the time it waits in a worker's next slot."""
MAX_CLIP_BYTES = 2 * 2**30
MAX_IMAGE_BYTES = 32 * 2**20
MAX_CHECKPOINT_BYTES = 1 * 2**30


def attempt_prefix(job_id: str, fence: int) -> str:
    """The folder that one attempt writes to, and no other does."""
    return f"jobs/{job_id}/{fence}/"


async def load_uploads(session: AsyncSession, job: Job) -> dict[str, Upload]:
    """The images that the job is conditioned on, by id."""
    ids = [str(image["upload_id"]) for image in _images(job)]
    rows = await session.exec(select(Upload).where(col(Upload.id).in_(ids)))
    return {row.id: row for row in rows}


async def build_order(studio: Studio, job: Job, attempt: Attempt, uploads: Mapping[str, Upload]) -> Order:
    """The order, with fresh signed URLs. Only signs; touches no database."""
    prefix = attempt_prefix(job.id, attempt.fence)
    recipe = CATALOGUE[job.recipe]
    clip, thumbnail, spritesheet, preview, report, checkpoint_a, checkpoint_b = await asyncio.gather(
        _writable(studio, prefix + "clip.mp4", "video/mp4", MAX_CLIP_BYTES),
        _writable(studio, prefix + "thumbnail.webp", "image/webp", MAX_IMAGE_BYTES),
        _writable(studio, prefix + "spritesheet.webp", "image/webp", MAX_IMAGE_BYTES),
        _writable(studio, prefix + "preview.webp", "image/webp", 256 * 1024),
        _writable(studio, prefix + "report.json", "application/json", 256 * 1024),
        _writable(studio, prefix + "checkpoint-a", "application/octet-stream", MAX_CHECKPOINT_BYTES),
        _writable(studio, prefix + "checkpoint-b", "application/octet-stream", MAX_CHECKPOINT_BYTES),
    )
    conditioning = tuple(
        [
            Conditioning(
                image=await _readable(studio, uploads[str(image["upload_id"])].key),
                sha256=uploads[str(image["upload_id"])].sha256,
                frame_index=cast(int, image.get("frame_index", 0)),
                strength=cast(float, image.get("strength", 1.0)),
            )
            for image in _images(job)
        ]
    )
    spec = job.spec
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
            width=cast(int, spec["width"]),
            height=cast(int, spec["height"]),
            num_frames=cast(int, spec["num_frames"]),
            fps=cast(int, spec["fps"]),
            num_inference_steps=cast(int, spec["num_inference_steps"]),
            guidance_scale=cast(float, spec["guidance_scale"]),
            seed=cast(int, spec["seed"]),
            conditioning=conditioning,
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
        lease_s=LEASE.total_seconds(),
        checkpoint_every_s=recipe.checkpoint_every_s,
        saves_memory=attempt.saves_memory,
        trace_id=job.trace_id,
    )


async def _resume(studio: Studio, job: Job) -> ResumeFrom | None:
    if job.checkpoint is None:
        return None
    return ResumeFrom(
        checkpoint=await _readable(studio, str(job.checkpoint["key"])),
        sha256=str(job.checkpoint["sha256"]),
        step=cast(int, job.checkpoint["step"]),
        identity=str(job.checkpoint["identity"]),
    )


async def _writable(studio: Studio, key: str, content_type: str, max_bytes: int) -> SignedObject:
    signed = await studio.storage.signed_put(key, ttl=URL_TTL, content_type=content_type, max_bytes=max_bytes)
    return SignedObject(key=key, put_url=signed.url, put_headers=signed.headers)


async def _readable(studio: Studio, key: str) -> SignedObject:
    return SignedObject(
        key=key, get_url=await studio.storage.signed_get(key, ttl=URL_TTL, reader=Reader.WORKER)
    )


def _images(job: Job) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", job.spec.get("conditioning", []))
