"""The worker's only way to bytes: signed URLs of its order's objects, fetched and written over HTTP.

Web or storage may be restarting, so what can pass is tried again with backoff, for minutes and no longer.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urljoin

import httpx

from backend.contracts import SignedObject
from backend.log import get_logger

log = get_logger(__name__)

CHUNK_BYTES = 256 * 1024
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class ObjectError(Exception):
    """An object could not be read or written, and trying again won't help any more."""


class ObjectTooLargeError(ObjectError):
    """The object is larger than the reader allows."""


class ObjectMismatchError(ObjectError):
    """The bytes are not the ones that the order names."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long and how often a passing failure is tried again."""

    give_up_after_s: float = 240.0
    first_delay_s: float = 0.2
    longest_delay_s: float = 10.0
    connect_timeout_s: float = 5.0
    stall_timeout_s: float = 30.0


class ObjectClient:
    """Reads and writes signed objects. Relative URLs are joined to `base_url`."""

    def __init__(self, base_url: str, policy: RetryPolicy | None = None) -> None:
        self._base_url = base_url.rstrip("/") + "/"
        self._policy = policy or RetryPolicy()
        timeout = httpx.Timeout(self._policy.stall_timeout_s, connect=self._policy.connect_timeout_s)
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, source: SignedObject, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        """The object's bytes, at most `limit_bytes`, checked against `sha256` (hex). Raises `ObjectError`."""
        if source.get_url is None:
            raise ObjectError(f"{source.key}: the order gives no URL to read it")
        url = urljoin(self._base_url, source.get_url)

        async def once() -> bytes:
            async with self._http.stream("GET", url) as response:
                response.raise_for_status()
                body = bytearray()
                async for chunk in response.aiter_bytes(CHUNK_BYTES):
                    body += chunk
                    if len(body) > limit_bytes:
                        raise ObjectTooLargeError(f"{source.key}: larger than {limit_bytes} bytes")
            return bytes(body)

        deadline = _Deadline(self._policy)
        while True:
            try:
                body = await once()
            except httpx.HTTPError as error:
                await deadline.wait_or_raise(source.key, "read", error)
                continue
            if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
                raise ObjectMismatchError(f"{source.key}: its sha256 is not the one that the order names")
            return body

    async def put(
        self,
        target: SignedObject,
        body: bytes | Path,
        *,
        content_type: str,
        give_up_after_s: float | None = None,
    ) -> None:
        """Write bytes, or a file's, to the object. Safe to repeat. Raises `ObjectError`."""
        if target.put_url is None:
            raise ObjectError(f"{target.key}: the order gives no URL to write it")
        url = urljoin(self._base_url, target.put_url)
        size_bytes = len(body) if isinstance(body, bytes) else (await asyncio.to_thread(body.stat)).st_size
        headers = {
            "content-type": content_type,
            **_lower(target.put_headers),
            "content-length": str(size_bytes),
        }
        deadline = _Deadline(self._policy, give_up_after_s)
        while True:
            content: bytes | AsyncIterator[bytes] = body if isinstance(body, bytes) else _file_chunks(body)
            try:
                response = await self._http.put(url, content=content, headers=headers)
                response.raise_for_status()
            except httpx.HTTPError as error:
                await deadline.wait_or_raise(target.key, "written", error)
                continue
            return


class _Deadline:
    """Exponential backoff with jitter until the policy's patience ends."""

    def __init__(self, policy: RetryPolicy, give_up_after_s: float | None = None) -> None:
        self._policy = policy
        self._delay_s = policy.first_delay_s
        patience_s = policy.give_up_after_s if give_up_after_s is None else give_up_after_s
        self._end = asyncio.get_running_loop().time() + patience_s

    async def wait_or_raise(self, key: str, verb: str, error: httpx.HTTPError) -> None:
        reason = type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            reason = f"HTTP {error.response.status_code}"
            if error.response.status_code not in _PASSING_STATUSES:
                raise ObjectError(f"{key}: could not be {verb}, {reason}") from error
        elif not isinstance(error, httpx.TransportError):
            raise ObjectError(f"{key}: could not be {verb}, {reason}") from error
        delay_s = self._delay_s * random.uniform(0.7, 1.3)
        if asyncio.get_running_loop().time() + delay_s > self._end:
            raise ObjectError(f"{key}: could not be {verb}, {reason}; gave up trying") from error
        log.warning("object.retry", key=key, reason=reason, delay_s=round(delay_s, 2))
        self._delay_s = min(self._delay_s * 2, self._policy.longest_delay_s)
        await asyncio.sleep(delay_s)


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
