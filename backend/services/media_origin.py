"""Where browsers fetch clips and pictures: our own origin, or a bucket's."""

from datetime import timedelta
from urllib.parse import urlsplit

from backend.storage import StorageUnavailable
from backend.studio import Studio

_NO_OBJECT = "probe/origin.webp"


async def media_origin(studio: Studio) -> str:
    """The origin of the storage's signed URLs, `https://clips.example.org`; "" for our own, or while it is away."""
    try:
        url = urlsplit(await studio.storage.signed_get(_NO_OBJECT, ttl=timedelta(minutes=1)))
    except StorageUnavailable:
        return ""
    return f"{url.scheme}://{url.netloc}" if url.netloc else ""
