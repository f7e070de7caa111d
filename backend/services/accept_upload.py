"""Take an image that a creator gives: decoded and written anew in a limited process before anything is stored."""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from backend.auth.principal import Principal
from backend.db.models import Upload
from backend.domain.errors import InvalidField, RateLimited, TooLarge
from backend.ids import IdPrefix, new_id
from backend.log import get_logger
from backend.studio import Studio
from moderation.images import CleanImage, ImageProblem, ImageRefused, clean_image

log = get_logger(__name__)

AT_ONCE = 2
AN_HOUR = 300

_doors: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


@dataclass(frozen=True, kw_only=True)
class UploadView:
    """An accepted image, as stored."""

    id: str
    width: int
    height: int
    size_bytes: int
    content_type: str


async def accept_upload(
    studio: Studio, principal: Principal, data: bytes, *, declared_type: str = "", param: str = "file"
) -> UploadView:
    """Clean, store and record an image; the same image again is the same upload.

    `declared_type` is what the sender says it is. Raises `InvalidField`, `TooLarge`, `RateLimited`; then
    nothing was stored.
    """
    await _check_pace(studio, principal)
    clean = await _clean(data, declared_type, param)
    digest = hashlib.sha256(clean.data).hexdigest()
    async with studio.db.reading() as session:
        known = (
            await session.exec(
                select(Upload)
                .where(Upload.account_id == principal.account_id, Upload.sha256 == digest)
                .limit(1)
            )
        ).one_or_none()
    if known is not None:
        return _view(known)
    row = Upload(
        id=new_id(IdPrefix.UPLOAD),
        account_id=principal.account_id,
        user_id=principal.user_id,
        key=f"uploads/{principal.account_id}/{digest}.png",
        sha256=digest,
        content_type=clean.media_type,
        width=clean.width_px,
        height=clean.height_px,
        size_bytes=len(clean.data),
    )
    # Bytes first: a row never names what isn't there. Equal bytes have equal keys, so nothing is left over twice.
    await studio.storage.put_bytes(row.key, clean.data, content_type=row.content_type)
    view = _view(row)
    async with studio.db.transaction() as session:
        await session.execute(insert(Upload).values(row.model_dump(exclude={"created_at"})))
    log.info("upload.accepted", account_id=principal.account_id, size_bytes=len(clean.data))
    return view


async def _check_pace(studio: Studio, principal: Principal) -> None:
    async with studio.db.reading() as session:
        lately = select(func.count()).where(
            Upload.account_id == principal.account_id,
            col(Upload.created_at) > func.now() - timedelta(hours=1),
        )
        if (await session.exec(lately)).one() >= AN_HOUR:
            raise RateLimited(
                f"An account gives {AN_HOUR} new images an hour at most.", retry_after=timedelta(minutes=10)
            )


async def _clean(data: bytes, declared_type: str, param: str) -> CleanImage:
    try:
        async with _door():
            return await asyncio.to_thread(clean_image, data, field=param, declared_type=declared_type)
    except ImageRefused as refused:
        error = TooLarge if refused.problem is ImageProblem.TOO_LARGE else InvalidField
        raise error(str(refused), param=param) from refused


def _door() -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    if loop not in _doors:
        _doors.clear()
        _doors[loop] = asyncio.Semaphore(AT_ONCE)
    return _doors[loop]


def _view(row: Upload) -> UploadView:
    return UploadView(
        id=row.id,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        content_type=row.content_type,
    )
