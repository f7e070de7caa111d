"""Take an image that a creator gives: decoded and written anew in a limited process before anything is stored."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, update
from sqlmodel import col, select

from backend.auth.principal import Principal
from backend.db.models import Upload
from backend.db.repositories import ledger, uploads
from backend.domain.clean_text import shown
from backend.domain.errors import InvalidField, QuotaExhausted, RateLimited, TooLarge, Unavailable
from backend.domain.object_keys import upload_key
from backend.domain.upload import KEPT_UNUSED, MAX_UNUSED_BYTES, UploadState
from backend.ids import IdPrefix, new_id
from backend.log import get_logger
from backend.services.image_places import image_places
from backend.studio import Studio
from moderation.images import CleanImage, ImageFormat, ImageProblem, ImageRefused, check_image, clean_image

log = get_logger(__name__)

MOST_AN_HOUR = 300
_ENDINGS = {ImageFormat.PNG: "png", ImageFormat.JPEG: "jpg", ImageFormat.WEBP: "webp"}


@dataclass(frozen=True, kw_only=True)
class UploadView:
    """An accepted image, as stored."""

    id: str
    width: int
    height: int
    size_bytes: int
    content_type: str


async def accept_upload(
    studio: Studio,
    principal: Principal,
    read: Callable[[], Awaitable[bytes]],
    *,
    declared_type: str = "",
    param: str = "file",
) -> UploadView:
    """Clean, store and record an image; the same image again is the same upload.

    `read` is called when it is this image's turn, so that one that waits lies on disk, not in memory. `declared_type`
    is what the sender says it is. Raises `InvalidField`, `TooLarge`, `RateLimited`, `QuotaExhausted`, `Unavailable`;
    then nothing was stored. One that no job names is swept after a day.
    """
    await _check_pace(studio, principal)
    async with image_places().place(principal.account_id):
        clean = await _clean(await read(), declared_type, param)
    row = await _record(studio, principal, clean)
    if row.state == UploadState.STORED:
        return _view(row)
    try:
        await studio.storage.put_bytes(row.key, clean.data, content_type=row.content_type)
    except BaseException:
        await _move(studio, row.id, UploadState.REMOVED)
        raise
    if not await _move(studio, row.id, UploadState.STORED):
        raise Unavailable
    log.info("upload.accepted", account_id=principal.account_id, size_bytes=len(clean.data))
    return _view(row)


async def _record(studio: Studio, principal: Principal, clean: CleanImage) -> Upload:
    """The row of this image: a stored one, or a new one whose bytes are still to come."""
    digest = hashlib.sha256(clean.data).hexdigest()
    upload_id = new_id(IdPrefix.UPLOAD)
    async with studio.db.transaction() as session:
        # One after the other within an account, so that many at once don't slip through its quota together.
        await ledger.lock_account(session, principal.account_id)
        known = select(Upload.id).where(
            Upload.account_id == principal.account_id,
            Upload.sha256 == digest,
            Upload.state == UploadState.STORED.value,
        )
        for found in await uploads.take(session, principal.account_id, (await session.exec(known)).all()):
            return await session.get_one(Upload, found)
        unused = await uploads.unused_bytes(
            session, principal.account_id, evidence_kept=studio.settings.evidence_kept
        )
        if unused + len(clean.data) > MAX_UNUSED_BYTES:
            raise QuotaExhausted(
                f"Images that no clip was made with take {unused / 2**20:.0f} of {MAX_UNUSED_BYTES / 2**20:.0f} MB."
                " They go a day after they were given; or make something of them.",
                param="file",
                retry_after=KEPT_UNUSED,
            )
        row = Upload(
            id=upload_id,
            account_id=principal.account_id,
            user_id=principal.user_id,
            key=upload_key(principal.account_id, upload_id, _ENDINGS[clean.format]),
            sha256=digest,
            content_type=clean.media_type,
            width=clean.width_px,
            height=clean.height_px,
            size_bytes=len(clean.data),
            state=UploadState.ARRIVING.value,
        )
        session.add(row)
        await session.flush()
        return row


async def _move(studio: Studio, upload_id: str, target: UploadState) -> bool:
    """Save what became of an arriving upload. False: it was swept meanwhile."""
    async with studio.db.transaction() as session:
        moved = await session.execute(
            update(Upload)
            .where(col(Upload.id) == upload_id, col(Upload.state) == UploadState.ARRIVING.value)
            .values(state=target.value)
            .execution_options(synchronize_session=False)
        )
        return bool(getattr(moved, "rowcount", 0) == 1)


async def _check_pace(studio: Studio, principal: Principal) -> None:
    async with studio.db.reading() as session:
        lately = select(func.count()).where(
            Upload.account_id == principal.account_id,
            col(Upload.created_at) > func.now() - timedelta(hours=1),
        )
        if (await session.exec(lately)).one() >= MOST_AN_HOUR:
            raise RateLimited(
                f"An account gives {MOST_AN_HOUR} new images an hour at most.",
                retry_after=timedelta(minutes=10),
            )


async def check_upload(data: bytes, *, declared_type: str, param: str) -> None:
    """Refuse what `accept_upload` would refuse without decoding it. Raises `InvalidField`, `TooLarge`."""
    with _as_our_errors(param):
        await asyncio.to_thread(check_image, data, field=param, declared_type=declared_type)


async def known_upload(studio: Studio, principal: Principal, upload_id: str, *, param: str) -> None:
    """Raises `InvalidField` for an upload that the account can't name."""
    async with studio.db.reading() as session:
        known = select(Upload.id).where(
            Upload.id == upload_id,
            Upload.account_id == principal.account_id,
            Upload.state == UploadState.STORED.value,
        )
        if (await session.exec(known)).one_or_none() is None:
            raise InvalidField(
                f"There is no upload {shown(upload_id)!r}, or it is no longer kept.", param=param
            )


async def _clean(data: bytes, declared_type: str, param: str) -> CleanImage:
    with _as_our_errors(param):
        return await asyncio.to_thread(clean_image, data, field=param, declared_type=declared_type)


@contextmanager
def _as_our_errors(param: str) -> Iterator[None]:
    try:
        yield
    except ImageRefused as refused:
        error = TooLarge if refused.problem is ImageProblem.TOO_LARGE else InvalidField
        raise error(str(refused), param=param) from refused


def _view(row: Upload) -> UploadView:
    return UploadView(
        id=row.id,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        content_type=row.content_type,
    )
