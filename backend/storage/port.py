"""What a store of heavy bytes can do. Keys are opaque paths; the database says who may see what."""

import hashlib
import mimetypes
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

CHUNK_BYTES = 256 * 1024
MAX_KEY_CHARS = 512

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.=-]*"
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_TYPES = {
    ".mp4": "video/mp4",
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".json": "application/json",
}


class StorageError(Exception):
    """Something went wrong with an object."""


class BadKey(StorageError):
    """A key that no object of ours can have."""


class ObjectNotFound(StorageError):
    """There is no object with that key."""


class ObjectTooLarge(StorageError):
    """The object is larger than the caller allows."""


class StorageUnavailable(StorageError):
    """The store can't be reached, or refuses us."""


class Reader(StrEnum):
    """Who will use a signed URL: a browser on our own origin, a worker on another host, or a moderator's browser.

    What a moderator may see is not what anybody else may. A store that serves its own URLs tells them apart.
    """

    BROWSER = "browser"
    WORKER = "worker"
    MODERATOR = "moderator"


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What is known of an object without reading it."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, kw_only=True)
class SignedPut:
    """Where to PUT one object, and the headers that must go with it."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)


class Storage(Protocol):
    """Objects by key. Every method may raise `BadKey` and `StorageUnavailable` (the store is away).

    A write is whole or absent: nobody reads half an object.
    """

    async def put_bytes(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        """Write an object, replacing what was there. Without a type it is told from the key's ending."""
        ...

    async def put_file(self, key: str, path: Path, *, content_type: str | None = None) -> None:
        """Write a file's content as an object."""
        ...

    async def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        """Read a whole object. Raises `ObjectNotFound`, or `ObjectTooLarge` past the limit."""
        ...

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read `length` bytes (or all that follows) from `start`, in pieces. Raises `ObjectNotFound`."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Size and time. Raises `ObjectNotFound`."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """Copy an object inside the store. Raises `ObjectNotFound`."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; one that is gone already is fine."""
        ...

    def list_objects(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects below a prefix (a whole folder: `jobs/video_.../`), in no particular order."""
        ...

    async def signed_get(
        self,
        key: str,
        *,
        ttl: timedelta,
        reader: Reader = Reader.BROWSER,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        """A URL to read this one object until at most `ttl` from now.

        With `filename` it downloads under that name.
        URLs asked for within a quarter of `ttl` are equal, so that a page read again loads nothing again.
        """
        ...

    async def signed_put(self, key: str, *, ttl: timedelta, content_type: str, max_bytes: int) -> SignedPut:
        """A URL to write this one object until `ttl` from now.

        The local store enforces `max_bytes`; S3 can't in a presigned PUT, so check `head` after an upload.
        """
        ...

    async def ping(self) -> None:
        """Raises `StorageUnavailable` when objects can't be written."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def check_key(key: str) -> str:
    """The key itself, when it is one that can't leave its folder. Raises `BadKey`."""
    if len(key) > MAX_KEY_CHARS or ".." in key or not _KEY.fullmatch(key):
        raise BadKey(f"not an object key: {key[:80]!r}")
    return key


def content_type_of(key: str) -> str:
    """The media type that a key's ending names."""
    ending = Path(key).suffix.lower()
    return _TYPES.get(ending) or mimetypes.types_map.get(ending) or "application/octet-stream"


async def download(storage: Storage, key: str, target: BinaryIO, *, limit_bytes: int) -> tuple[str, int]:
    """Copy an object into an open file; returns its sha256 and size.

    Raises `ObjectNotFound`, `ObjectTooLarge`.
    """
    digest = hashlib.sha256()
    size = 0
    async for chunk in storage.stream(key):
        size += len(chunk)
        if size > limit_bytes:
            raise ObjectTooLarge(f"{key} is larger than {limit_bytes} bytes")
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest(), size
