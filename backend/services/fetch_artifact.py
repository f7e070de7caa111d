"""Bytes for eyes: signed URLs of released artifacts and one's own images, previews of what is rendered now."""

import io
from datetime import timedelta

from PIL import Image, UnidentifiedImageError

from backend.auth.principal import Principal
from backend.contracts import MAX_PREVIEW_BYTES, PREVIEW_SIDE_PX
from backend.db.models import Upload
from backend.domain.artifact import ArtifactKind
from backend.domain.errors import NotFound
from backend.domain.generation import SHOWS_PREVIEW
from backend.domain.review import CLAIM_LEASE
from backend.domain.upload import UploadState
from backend.services.get_generation import load_own
from backend.services.locate_artifact import locate_artifact
from backend.services.review_cases import evidence_key
from backend.storage import ObjectNotFound, ObjectTooLarge, Reader
from backend.studio import Studio

URL_TTL = timedelta(minutes=10)


async def artifact_url(
    studio: Studio, principal: Principal, job_id: str, kind: ArtifactKind, *, download: bool = False
) -> str:
    """A short-lived URL of a released artifact of the asker's job. Raises `NotFound` for anything else."""
    found = await locate_artifact(studio, principal, job_id, kind)
    return await studio.storage.signed_get(
        found.key,
        ttl=URL_TTL,
        filename=found.filename if download else None,
        content_type=found.content_type,
    )


async def preview_frame(studio: Studio, principal: Principal, job_id: str) -> bytes:
    """The newest preview frame of a job that renders or waits for its verdict, as WebP. Raises `NotFound`."""
    async with studio.db.reading() as session:
        job = await load_own(session, principal, job_id)
    if job.preview_key is None or job.state not in SHOWS_PREVIEW:
        raise NotFound("There is no preview now.")
    try:
        data = await studio.storage.get_bytes(job.preview_key, limit_bytes=MAX_PREVIEW_BYTES)
        # The worker is not trusted to have made it small: header only, nothing is decoded here.
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            if max(image.size) > PREVIEW_SIDE_PX:
                raise NotFound("There is no preview now.")
    except (ObjectNotFound, ObjectTooLarge, UnidentifiedImageError, OSError) as error:
        raise NotFound("There is no preview now.") from error
    return data


async def upload_url(studio: Studio, principal: Principal, upload_id: str) -> str:
    """A short-lived URL of an image that the asker's account gave and a job may still name. Raises `NotFound`."""
    async with studio.db.reading() as session:
        upload = await session.get(Upload, upload_id)
    if upload is None or upload.account_id != principal.account_id or upload.state != UploadState.STORED:
        raise NotFound("There is no such image.")
    return await studio.storage.signed_get(upload.key, ttl=URL_TTL, content_type=upload.content_type)


async def evidence_url(studio: Studio, principal: Principal, case_id: str, kind: str) -> str:
    """A short-lived URL of a case's evidence, for moderators. Raises `NotFound`, `NotAllowed`."""
    key = await evidence_key(studio, principal, case_id, kind)
    return await studio.storage.signed_get(key, ttl=CLAIM_LEASE, reader=Reader.MODERATOR)
