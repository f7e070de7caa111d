"""Objects as files in one folder. A write goes to a temporary file, is synced, then renamed into place."""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from backend.clock import Clock, SystemClock
from backend.storage.port import (
    CHUNK_BYTES,
    ObjectInfo,
    ObjectNotFound,
    ObjectTooLarge,
    Reader,
    SignedPut,
    StorageUnavailable,
    check_key,
)
from backend.storage.signing import Permit, verify

INCOMING = ".incoming"
ABANDONED_S = 24 * 3600
WRITE_BYTES = 1024 * 1024


class LocalStorage:
    """A folder. Its signed URLs are answered by `backend.api.objects`."""

    def __init__(self, root: Path, *, secret: bytes, worker_url: str, clock: Clock | None = None) -> None:
        self.root = root
        self._secret = secret
        self._worker_url = worker_url.rstrip("/")
        self._clock: Clock = clock or SystemClock()
        self._prepared = False

    async def put_bytes(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        """Write an object whole."""
        await asyncio.to_thread(self._put_bytes, check_key(key), data)

    async def put_file(self, key: str, path: Path, *, content_type: str | None = None) -> None:
        """Copy a file in."""
        await asyncio.to_thread(self._put_file, check_key(key), path)

    async def receive(self, key: str, chunks: AsyncIterable[bytes], *, max_bytes: int) -> int:
        """Write what arrives, at most `max_bytes`; returns the size. An upload cut short leaves nothing."""
        check_key(key)
        draft, file = await asyncio.to_thread(self._open_draft)
        size = 0
        pending = bytearray()
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise ObjectTooLarge(f"an upload to {key} may be {max_bytes} bytes at most")
                pending += chunk
                if len(pending) >= WRITE_BYTES:
                    await asyncio.to_thread(_write, file, bytes(pending), key)
                    pending.clear()
            await asyncio.to_thread(self._finish, file, bytes(pending), draft, key)
        except BaseException:
            _discard(file, draft)
            raise
        return size

    async def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        """Read a whole object up to the limit."""
        return await asyncio.to_thread(self._get_bytes, check_key(key), limit_bytes)

    async def stream(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read a range in pieces."""
        file = await asyncio.to_thread(self._open, check_key(key), start)
        try:
            left = length
            while left is None or left > 0:
                chunk = await asyncio.to_thread(
                    file.read, CHUNK_BYTES if left is None else min(left, CHUNK_BYTES)
                )
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk
        finally:
            file.close()

    async def head(self, key: str) -> ObjectInfo:
        """Size and time of the file."""
        return await asyncio.to_thread(self._head, check_key(key))

    async def copy(self, source: str, target: str) -> None:
        """Copy by file."""
        path = self._path(check_key(source))
        try:
            await self.put_file(target, path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectNotFound(source) from error

    async def delete(self, key: str) -> None:
        """Unlink the file, and folders that are left empty."""
        await asyncio.to_thread(self._delete, check_key(key))

    async def list_objects(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Walk the folder below a prefix."""
        folder = self._path(check_key(prefix.rstrip("/"))) if prefix else self.root
        for info in await asyncio.to_thread(lambda: list(self._walk(folder))):
            yield info

    async def signed_get(
        self,
        key: str,
        *,
        ttl: timedelta,
        reader: Reader = Reader.BROWSER,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        """A path on our own origin for browsers, a whole URL for workers."""
        ttl_s = max(1, int(ttl.total_seconds()))
        step_s = max(1, ttl_s // 4)
        # Rounded down to a quarter of its life, so that the same object keeps the same URL for a while.
        ends_at = (int(self._now_s()) + ttl_s) // step_s * step_s
        permit = Permit(
            method="GET",
            key=check_key(key),
            expires_at=ends_at,
            content_type=content_type or "",
            filename=filename or "",
            reader=reader,
        )
        path = permit.path(self._secret)
        return self._worker_url + path if reader is Reader.WORKER else path

    async def signed_put(self, key: str, *, ttl: timedelta, content_type: str, max_bytes: int) -> SignedPut:
        """A URL that takes one object up to `max_bytes`, of that content type alone."""
        permit = Permit(
            method="PUT",
            key=check_key(key),
            expires_at=int(self._now_s() + ttl.total_seconds()),
            content_type=content_type,
            max_bytes=max_bytes,
        )
        return SignedPut(
            url=self._worker_url + permit.path(self._secret), headers={"content-type": content_type}
        )

    def verify(self, method: str, key: str, query: Mapping[str, str]) -> Permit:
        """The permit of a request to an object's URL. Raises `BadKey`, `ForgedUrl` or `ExpiredUrl`."""
        return verify(self._secret, method, check_key(key), query, now=self._now_s())

    async def ping(self) -> None:
        """Write and delete a small file."""
        await asyncio.to_thread(self._ping)

    async def close(self) -> None:
        """Nothing is held open."""

    def _now_s(self) -> float:
        return self._clock.now().timestamp()

    def _path(self, key: str) -> Path:
        return self.root / key

    def _prepare(self) -> Path:
        incoming = self.root / INCOMING
        if not self._prepared:
            # The mode is the last folder's alone: those above it would be open to all.
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            incoming.mkdir(mode=0o700, exist_ok=True)
            for left in incoming.iterdir():
                # A process that was killed in mid-write left it; no write takes a day.
                with contextlib.suppress(OSError):
                    if time.time() - left.stat().st_mtime > ABANDONED_S:
                        left.unlink()
            self._prepared = True
        return incoming

    def _open_draft(self) -> tuple[Path, BinaryIO]:
        try:
            draft = self._prepare() / secrets.token_hex(12)
            try:
                return draft, draft.open("xb")
            except FileNotFoundError:  # the whole folder went away under a running studio
                self._prepared = False
                self._prepare()
                return draft, draft.open("xb")
        except OSError as error:
            raise StorageUnavailable(f"{self.root} can't be written ({error.strerror})") from error

    def _finish(self, file: BinaryIO, rest: bytes, draft: Path, key: str) -> None:
        try:
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self._place(draft, self._path(key))
        except OSError as error:
            raise StorageUnavailable(f"{key} can't be written ({error.strerror})") from error

    @staticmethod
    def _place(draft: Path, path: Path) -> None:
        for last_try in (False, False, True):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                draft.replace(path)
                break
            except FileNotFoundError:  # a delete beside us took the empty folder
                if last_try:
                    raise
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _put_bytes(self, key: str, data: bytes) -> None:
        draft, file = self._open_draft()
        try:
            self._finish(file, data, draft, key)
        except BaseException:
            _discard(file, draft)
            raise

    def _put_file(self, key: str, source: Path) -> None:
        with source.open("rb") as reading:
            draft, file = self._open_draft()
            try:
                while piece := reading.read(WRITE_BYTES):
                    _write(file, piece, key)
                self._finish(file, b"", draft, key)
            except BaseException:
                _discard(file, draft)
                raise

    def _open(self, key: str, start: int = 0) -> BinaryIO:
        try:
            file = self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectNotFound(key) from error
        except OSError as error:
            raise StorageUnavailable(f"{key} can't be read ({error.strerror})") from error
        file.seek(start)
        return file

    def _get_bytes(self, key: str, limit_bytes: int) -> bytes:
        with self._open(key) as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise ObjectTooLarge(f"{key} is larger than {limit_bytes} bytes")
        return data

    def _head(self, key: str) -> ObjectInfo:
        with self._open(key) as file:
            status = os.fstat(file.fileno())
        return ObjectInfo(
            key=key, size_bytes=status.st_size, modified_at=datetime.fromtimestamp(status.st_mtime, UTC)
        )

    def _delete(self, key: str) -> None:
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        for folder in path.parents:
            if folder == self.root:
                return
            try:
                folder.rmdir()
            except OSError:
                return

    def _walk(self, folder: Path) -> Iterator[ObjectInfo]:
        for parent, folders, files in os.walk(folder):
            if Path(parent) == self.root and INCOMING in folders:
                folders.remove(INCOMING)
            for name in files:
                with contextlib.suppress(ObjectNotFound):
                    yield self._head((Path(parent) / name).relative_to(self.root).as_posix())

    def _ping(self) -> None:
        draft, file = self._open_draft()
        try:
            file.write(b"ping")
            file.close()
        except OSError as error:
            raise StorageUnavailable(f"{self.root} can't be written ({error.strerror})") from error
        finally:
            _discard(file, draft)


def _write(file: BinaryIO, data: bytes, key: str) -> None:
    try:
        file.write(data)
    except OSError as error:
        raise StorageUnavailable(f"{key} can't be written ({error.strerror})") from error


def _discard(file: BinaryIO, draft: Path) -> None:
    """Leave no draft behind: on a full disk even closing the file fails, as it still has bytes to write."""
    with contextlib.suppress(OSError):
        file.close()
    with contextlib.suppress(OSError):
        draft.unlink(missing_ok=True)
