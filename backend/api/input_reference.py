"""The image that a request brings: a file, a `data:` URL, or the id of an earlier upload."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from urllib.parse import unquote_to_bytes

from starlette.datastructures import UploadFile

from backend.api.parse_bodies import Fields
from backend.auth.principal import Principal
from backend.domain.clean_text import shown
from backend.domain.errors import InvalidField, TooLarge
from backend.ids import IdPrefix, is_id, new_id
from backend.services.accept_upload import accept_upload, check_upload, known_upload
from backend.studio import Studio
from moderation.images import MAX_BYTES, too_large

NAME = "input_reference"
FIELDS = frozenset({NAME, f"{NAME}[image_url]", f"{NAME}[file_id]"})


def brings_image(fields: Fields) -> bool:
    """Whether there is an image at all, in any of the ways."""
    return any(name in fields.files or fields.raw(name) for name in FIELDS)


async def upload_of(studio: Studio, principal: Principal, fields: Fields) -> str | None:
    """The upload's id, stored first if need be; None without an image. Raises as `accept_upload` does."""
    if (file_id := _file_id(fields)) is not None:
        return file_id
    if (image := _image(fields)) is None:
        return None
    read, declared = image
    return (await accept_upload(studio, principal, read, declared_type=declared, param=NAME)).id


async def check_reference(studio: Studio, principal: Principal, fields: Fields) -> str | None:
    """Refuse what `upload_of` would, as far as it can be seen without decoding or storing anything.

    Returns an id to price with: the upload's, or one that names nothing for an image that isn't stored yet; None
    without an image. Raises `InvalidField`, `TooLarge`.
    """
    if (file_id := _file_id(fields)) is not None:
        await known_upload(studio, principal, file_id, param=NAME)
        return file_id
    if (image := _image(fields)) is None:
        return None
    read, declared = image
    await check_upload(await read(), declared_type=declared, param=NAME)
    return new_id(IdPrefix.UPLOAD)


def reader_of(file: UploadFile, *, param: str) -> Callable[[], Awaitable[bytes]]:
    """Reads a file when it is called. Raises `TooLarge` before more is read than an image may have."""
    if file.size is not None and file.size > MAX_BYTES:
        raise TooLarge(too_large(file.size), param=param)
    return lambda: file.read(MAX_BYTES + 1)


def _file_id(fields: Fields) -> str | None:
    given = sorted(name for name in FIELDS if name in fields.files or fields.raw(name))
    if len(given) > 1:
        raise InvalidField(f"An image is given once, not as {' and '.join(given)}.", param=given[1])
    if NAME in fields.files or (file_id := fields.text(f"{NAME}[file_id]")) is None:
        return None
    if not is_id(file_id, IdPrefix.UPLOAD):
        raise InvalidField(f"There is no upload {shown(file_id)!r}.", param=f"{NAME}[file_id]")
    return file_id


def _image(fields: Fields) -> tuple[Callable[[], Awaitable[bytes]], str] | None:
    """How to read the image that came along, and what its sender says it is."""
    if NAME in fields.files:
        file = fields.files[NAME]
        return reader_of(file, param=NAME), _type(file)
    url = fields.raw(f"{NAME}[image_url]") or fields.raw(NAME)
    if url is None:
        return None
    declared, encoded, body = _parts_of(url)
    return lambda: asyncio.to_thread(_decoded, body, encoded), declared


def _type(file: UploadFile) -> str:
    return (file.content_type or "").partition(";")[0].strip().lower()


def _parts_of(url: str) -> tuple[str, bool, str]:
    """A `data:` URL's media type, whether it is base64, and what it holds."""
    scheme, _, rest = url.partition(":")
    if scheme.lower() != "data":
        raise InvalidField(
            "An image is given as a file, as a data: URL, or as the id of an upload; this studio fetches no addresses.",
            param=NAME,
        )
    head, comma, body = rest.partition(",")
    if not comma:
        raise InvalidField("This data: URL has no data.", param=NAME)
    kind, *options = head.split(";")
    return kind, "base64" in options, body


def _decoded(body: str, encoded: bool) -> bytes:
    try:
        data = unquote_to_bytes(body)
        return base64.b64decode("".join(data.decode("ascii").split()), validate=True) if encoded else data
    except (binascii.Error, UnicodeError):
        raise InvalidField("This data: URL is not valid base64.", param=NAME) from None
