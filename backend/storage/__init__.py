"""Where heavy bytes lie: one port, two adapters. boto3 is imported only when an `s3://` URL asks for it."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from backend.operator_errors import BadSettingError
from backend.settings import Settings
from backend.storage.local import LocalStorage
from backend.storage.port import (
    BadKey,
    ObjectInfo,
    ObjectNotFound,
    ObjectTooLarge,
    Reader,
    SignedPut,
    Storage,
    StorageError,
    StorageUnavailable,
    content_type_of,
    download,
)

__all__ = [
    "BadKey",
    "ObjectInfo",
    "ObjectNotFound",
    "ObjectTooLarge",
    "Reader",
    "SignedPut",
    "Storage",
    "StorageError",
    "StorageUnavailable",
    "content_type_of",
    "download",
    "open_storage",
]


def open_storage(settings: Settings) -> Storage:
    """The store that `ZOETROPE_STORAGE_URL` names: a folder, `file://…` or `s3://…`.

    Raises `BadSettingError`.
    """
    url = settings.storage_url
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        from backend.storage.s3 import S3Storage, parse_s3_url

        return S3Storage(parse_s3_url(url))
    if scheme == "file":
        url = unquote(urlsplit(url).path)
    elif "://" in url:
        raise BadSettingError(
            "ZOETROPE_STORAGE_URL can't be used", "give a folder, or s3://bucket/prefix for a bucket"
        )
    return LocalStorage(
        Path(url).expanduser().absolute(),
        secret=settings.secret("url-signing"),
        worker_url=settings.control_url,
    )
