"""Signatures of local object URLs: an HMAC over everything that the URL allows."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from backend.storage.port import Reader, StorageError

ROUTE = "/objects"


class ForgedUrl(StorageError):
    """The signature is missing or belongs to something else."""


class ExpiredUrl(StorageError):
    """The URL was ours and has ended."""


@dataclass(frozen=True, kw_only=True)
class Permit:
    """What a signed URL allows: one method on one key until a moment (unix seconds)."""

    method: str
    key: str
    expires_at: int
    content_type: str = ""
    filename: str = ""
    max_bytes: int = 0
    reader: Reader = Reader.BROWSER

    def path(self, secret: bytes) -> str:
        """The URL's path and query."""
        query = {"expires": str(self.expires_at)}
        if self.content_type:
            query["type"] = self.content_type
        if self.filename:
            query["name"] = self.filename
        if self.max_bytes:
            query["max"] = str(self.max_bytes)
        if self.reader is not Reader.BROWSER:
            query["for"] = self.reader.value
        query["sig"] = self._signature(secret)
        return f"{ROUTE}/{quote(self.key)}?{urlencode(query)}"

    def _signature(self, secret: bytes) -> str:
        fields = (
            self.method,
            self.key,
            str(self.expires_at),
            self.content_type,
            self.filename,
            str(self.max_bytes),
            self.reader.value,
        )
        # Lengths in front, so that no two different permits spell the same message.
        message = "".join(f"{len(part)}:{part}" for part in fields)
        return hmac.digest(secret, message.encode(), hashlib.sha256).hex()


def verify(secret: bytes, method: str, key: str, query: Mapping[str, str], *, now: float) -> Permit:
    """The permit that a request presents. HEAD goes by a GET permit. Raises `ForgedUrl` or `ExpiredUrl`."""
    try:
        permit = Permit(
            method="GET" if method == "HEAD" else method,
            key=key,
            expires_at=int(query["expires"]),
            content_type=query.get("type", ""),
            filename=query.get("name", ""),
            max_bytes=int(query.get("max", "0")),
            reader=Reader(query.get("for", Reader.BROWSER)),
        )
        presented = query["sig"].encode()
    except (KeyError, ValueError) as error:
        raise ForgedUrl("this address was not signed by this studio") from error
    if not hmac.compare_digest(permit._signature(secret).encode(), presented):
        raise ForgedUrl("this address was not signed by this studio")
    if now >= permit.expires_at:
        raise ExpiredUrl("this address has ended; load the page again for a new one")
    return permit
