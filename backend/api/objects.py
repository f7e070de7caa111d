"""Signed URLs of the local store: read with Range, written in one stream. The signature decides who may.

With S3 these routes answer 404: its URLs are presigned by S3 itself.
"""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from backend.api.dependencies import studio_of
from backend.log import get_logger
from backend.services.locate_artifact import may_be_served
from backend.storage import BadKey, ObjectNotFound, ObjectTooLarge, StorageUnavailable, content_type_of
from backend.storage.local import LocalStorage
from backend.storage.signing import ExpiredUrl, ForgedUrl, Permit

log = get_logger(__name__)

router = APIRouter(include_in_schema=False)

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_INLINE_TYPES = ("image/png", "image/jpeg", "image/webp", "video/mp4", "application/json")
_HEADERS = {
    "accept-ranges": "bytes",
    "cache-control": "private, max-age=60",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


@router.get("/objects/{key:path}")
@router.head("/objects/{key:path}")
async def read_object(request: Request, key: str) -> Response:
    """Bytes of one object: 200, 206 for a range, 403 forged, 404 gone, 410 ended, 416 outside."""
    store, permit = _permit(request, key)
    try:
        if not await may_be_served(studio_of(request), key, permit.reader):
            raise ObjectNotFound(key)
        size = (await store.head(key)).size_bytes
    except ObjectNotFound:
        raise HTTPException(404, "there is no such object") from None
    headers = dict(_HEADERS)
    kind = permit.content_type or content_type_of(key)
    if permit.filename:
        headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(permit.filename)}"
    elif kind not in _INLINE_TYPES:
        headers["content-disposition"] = "attachment"
    start, end, status = 0, size, 200
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted and (wanted[1] or wanted[2]):
        if wanted[1]:
            start = _bytes(wanted[1])
            end = min(size, _bytes(wanted[2]) + 1) if wanted[2] else size
        else:
            start = max(0, size - _bytes(wanted[2]))
        if start >= size or start >= end:
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        status = 206
    headers["content-length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(
        _pieces(store, key, start, end - start), status_code=status, headers=headers, media_type=kind
    )


@router.put("/objects/{key:path}")
async def write_object(request: Request, key: str) -> Response:
    """Take one object: 201; 403 forged, 410 ended, 413 too large, 415 another type than was signed."""
    store, permit = _permit(request, key)
    if permit.content_type and request.headers.get("content-type", "") != permit.content_type:
        raise HTTPException(415, f"this address takes {permit.content_type}")
    announced = request.headers.get("content-length", "0")
    if not re.fullmatch("[0-9]+", announced) or _bytes(announced) > permit.max_bytes:
        raise HTTPException(413, f"this address takes {permit.max_bytes} bytes at most")
    try:
        size = await store.receive(key, request.stream(), max_bytes=permit.max_bytes)
    except ObjectTooLarge as error:
        raise HTTPException(413, f"this address takes {permit.max_bytes} bytes at most") from error
    except StorageUnavailable as error:
        log.error("object.write_failed", key=key, error=str(error))
        raise HTTPException(503, "the object could not be written", headers={"retry-after": "5"}) from error
    log.debug("object.written", key=key, size_bytes=size)
    return Response(status_code=201)


def _bytes(digits: str) -> int:
    """A count of bytes. Of thousands of digits the first ones do: no object is that large, and `int` refuses them."""
    return int(digits.lstrip("0")[:18] or "0")


def _permit(request: Request, key: str) -> tuple[LocalStorage, Permit]:
    store = studio_of(request).storage
    if not isinstance(store, LocalStorage):
        raise HTTPException(404, "objects are not served from here")
    try:
        return store, store.verify(request.method, key, request.query_params)
    except ExpiredUrl as error:
        raise HTTPException(410, str(error)) from None
    except (ForgedUrl, BadKey):
        raise HTTPException(403, "this address was not signed by this studio") from None


async def _pieces(store: LocalStorage, key: str, start: int, length: int) -> AsyncIterator[bytes]:
    async for chunk in store.stream(key, start=start, length=length):
        yield chunk
