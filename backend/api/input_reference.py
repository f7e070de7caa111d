"""The image that a request brings: a file, a `data:` URL, or the id of an earlier upload."""

import asyncio
import base64
import binascii
from urllib.parse import unquote_to_bytes

from starlette.datastructures import UploadFile

from backend.api.parse_bodies import Fields
from backend.auth.principal import Principal
from backend.domain.clean_text import shown
from backend.domain.errors import InvalidField, TooLarge
from backend.ids import IdPrefix, is_id
from backend.services.accept_upload import accept_upload
from backend.studio import Studio
from moderation.images import MAX_BYTES, too_large

NAME = "input_reference"
FIELDS = frozenset({NAME, f"{NAME}[image_url]", f"{NAME}[file_id]"})


def brings_image(fields: Fields) -> bool:
    """Whether there is an image at all, in any of the ways."""
    return any(name in fields.files or fields.raw(name) for name in FIELDS)


async def upload_of(studio: Studio, principal: Principal, fields: Fields) -> str | None:
    """The upload's id, stored first if need be; None without an image. Raises `InvalidField`, `TooLarge`."""
    if NAME in fields.files:
        file = fields.files[NAME]
        data = await read_file(file, param=NAME)
        view = await accept_upload(studio, principal, data, declared_type=_type(file), param=NAME)
        return view.id
    if (file_id := fields.text(f"{NAME}[file_id]")) is not None:
        if not is_id(file_id, IdPrefix.UPLOAD):
            raise InvalidField(f"There is no upload {shown(file_id)!r}.", param=f"{NAME}[file_id]")
        return file_id
    url = fields.raw(f"{NAME}[image_url]") or fields.raw(NAME)
    if url is None:
        return None
    data, declared = await asyncio.to_thread(_from_data_url, url)
    return (await accept_upload(studio, principal, data, declared_type=declared, param=NAME)).id


async def read_file(file: UploadFile, *, param: str) -> bytes:
    """A file's bytes. Raises `TooLarge` before it reads more than an image may have."""
    if file.size is not None and file.size > MAX_BYTES:
        raise TooLarge(too_large(file.size), param=param)
    return await file.read(MAX_BYTES + 1)


def _type(file: UploadFile) -> str:
    return (file.content_type or "").partition(";")[0].strip().lower()


def _from_data_url(url: str) -> tuple[bytes, str]:
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
    try:
        if "base64" in options:
            return base64.b64decode(
                "".join(unquote_to_bytes(body).decode("ascii").split()), validate=True
            ), kind
        return unquote_to_bytes(body), kind
    except (binascii.Error, UnicodeError):
        raise InvalidField("This data: URL is not valid base64.", param=NAME) from None
