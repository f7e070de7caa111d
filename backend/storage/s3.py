"""Objects in an S3 bucket, or in anything that speaks its language. The only boto3; calls run in threads."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from backend.operator_errors import BadSettingError
from backend.storage.port import (
    CHUNK_BYTES,
    ObjectInfo,
    ObjectNotFound,
    ObjectTooLarge,
    Reader,
    SignedPut,
    StorageUnavailable,
    check_key,
    content_type_of,
)

MULTIPART_BYTES = 8 * 1024 * 1024
THREADS = 16

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class S3Address:
    """Where the bucket is. Without credentials boto3's own chain is asked (environment, profile, role)."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    public_endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    path_style: bool = False


def parse_s3_url(url: str) -> S3Address:
    """Read `s3://bucket/prefix` (AWS) or `s3://key:secret@host:port/bucket/prefix?region=…&tls=false&path_style=true`.

    `endpoint=` names another server, `public_endpoint=` the address under which browsers reach it. Raises
    `BadSettingError`.
    """
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    segments = [segment for segment in parts.path.split("/") if segment]
    endpoint = query.get("endpoint")
    if parts.username is not None:
        scheme = "http" if query.get("tls") == "false" else "https"
        endpoint = endpoint or f"{scheme}://{parts.netloc.rpartition('@')[2]}"
        bucket, rest = (segments[0] if segments else ""), segments[1:]
    else:
        bucket, rest = parts.netloc, segments
    if not bucket:
        raise BadSettingError(
            "ZOETROPE_STORAGE_URL names no bucket",
            "write s3://bucket/prefix, or s3://key:secret@host:port/bucket for another S3 server",
        )
    return S3Address(
        bucket=bucket,
        prefix="/".join(rest) + "/" if rest else "",
        endpoint=endpoint,
        public_endpoint=query.get("public_endpoint"),
        region=query.get("region"),
        access_key=unquote(parts.username) if parts.username else None,
        secret_key=unquote(parts.password) if parts.password else None,
        path_style=query.get("path_style", "true" if endpoint else "false") == "true",
    )


class S3Storage:
    """A bucket. Signed URLs are S3's own presigned ones."""

    def __init__(self, address: S3Address) -> None:
        self._address = address
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._client = self._connect(address.endpoint)
        self._public_client = (
            self._connect(address.public_endpoint) if address.public_endpoint else self._client
        )
        self._transfer = TransferConfig(
            multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES
        )

    def _connect(self, endpoint: str | None) -> Any:
        address = self._address
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=address.region,
            aws_access_key_id=address.access_key,
            aws_secret_access_key=address.secret_key,
            config=Config(
                signature_version="s3v4",
                connect_timeout=5,
                read_timeout=30,
                max_pool_connections=THREADS,
                retries={"max_attempts": 3, "mode": "standard"},
                s3={"addressing_style": "path" if address.path_style else "auto"},
                # Servers other than AWS refuse the newer default checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    async def _in_thread(self, key: str, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in {"404", "NoSuchKey", "NotFound"}:
                raise ObjectNotFound(key) from error
            raise StorageUnavailable(
                f"the bucket {self._address.bucket} answered {code} for {key}"
            ) from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"the bucket {self._address.bucket} can't be reached") from error

    def _name(self, key: str) -> str:
        return self._address.prefix + check_key(key)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        """Write an object whole."""
        name = self._name(key)
        kind = content_type or content_type_of(key)
        await self._in_thread(
            key,
            lambda: self._client.put_object(
                Bucket=self._address.bucket, Key=name, Body=data, ContentType=kind
            ),
        )

    async def put_file(self, key: str, path: Path, *, content_type: str | None = None) -> None:
        """Upload a file, in parts when it is large."""
        name = self._name(key)
        extra = {"ContentType": content_type or content_type_of(key)}
        await self._in_thread(
            key,
            lambda: self._client.upload_file(
                str(path), self._address.bucket, name, ExtraArgs=extra, Config=self._transfer
            ),
        )

    async def get_bytes(self, key: str, *, limit_bytes: int) -> bytes:
        """Read a whole object up to the limit."""
        data = bytearray()
        async for chunk in self.stream(key):
            data += chunk
            if len(data) > limit_bytes:
                raise ObjectTooLarge(f"{key} is larger than {limit_bytes} bytes")
        return bytes(data)

    async def stream(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read a range in pieces."""
        name = self._name(key)
        if length == 0:
            return
        request = {"Bucket": self._address.bucket, "Key": name}
        if start or length is not None:
            request["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        try:
            body = (await self._in_thread(key, lambda: self._client.get_object(**request)))["Body"]
        except StorageUnavailable as error:
            if "InvalidRange" in str(error):  # past the end: the same as an empty read of a file
                return
            raise
        try:
            while chunk := await self._in_thread(key, lambda: body.read(CHUNK_BYTES)):
                yield chunk
        finally:
            body.close()

    async def head(self, key: str) -> ObjectInfo:
        """Size and time."""
        name = self._name(key)
        found = await self._in_thread(
            key, lambda: self._client.head_object(Bucket=self._address.bucket, Key=name)
        )
        return ObjectInfo(key=key, size_bytes=found["ContentLength"], modified_at=found["LastModified"])

    async def copy(self, source: str, target: str) -> None:
        """Copy inside the bucket, in parts when it is large."""
        origin = {"Bucket": self._address.bucket, "Key": self._name(source)}
        name = self._name(target)
        await self._in_thread(
            source, lambda: self._client.copy(origin, self._address.bucket, name, Config=self._transfer)
        )

    async def delete(self, key: str) -> None:
        """Delete; S3 doesn't mind one that is gone."""
        name = self._name(key)
        await self._in_thread(key, lambda: self._client.delete_object(Bucket=self._address.bucket, Key=name))

    async def list_objects(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """List page by page."""
        start = self._address.prefix + (check_key(prefix.rstrip("/")) + "/" if prefix else "")
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(Bucket=self._address.bucket, Prefix=start)
        )
        while (page := await self._in_thread(prefix, lambda: next(pages, None))) is not None:
            for entry in page.get("Contents", ()):
                yield ObjectInfo(
                    key=entry["Key"].removeprefix(self._address.prefix),
                    size_bytes=entry["Size"],
                    modified_at=entry["LastModified"],
                )

    async def signed_get(
        self,
        key: str,
        *,
        ttl: timedelta,
        reader: Reader = Reader.BROWSER,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        """A presigned GET, on the public endpoint for browsers."""
        wanted = {"Bucket": self._address.bucket, "Key": self._name(key)}
        wanted["ResponseContentType"] = content_type or content_type_of(key)
        if filename is not None:
            wanted["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(filename)}"
        client = self._client if reader is Reader.WORKER else self._public_client
        return str(
            await self._in_thread(
                key,
                lambda: client.generate_presigned_url(
                    "get_object", Params=wanted, ExpiresIn=max(1, int(ttl.total_seconds()))
                ),
            )
        )

    async def signed_put(self, key: str, *, ttl: timedelta, content_type: str, max_bytes: int) -> SignedPut:
        """A presigned PUT. The size can't be bounded by it: check `head` afterwards."""
        wanted = {"Bucket": self._address.bucket, "Key": self._name(key), "ContentType": content_type}
        url = await self._in_thread(
            key,
            lambda: self._client.generate_presigned_url(
                "put_object", Params=wanted, ExpiresIn=max(1, int(ttl.total_seconds()))
            ),
        )
        return SignedPut(url=str(url), headers={"content-type": content_type})

    async def ping(self) -> None:
        """Ask for the bucket."""
        try:
            await self._in_thread("", lambda: self._client.head_bucket(Bucket=self._address.bucket))
        except ObjectNotFound as error:
            raise StorageUnavailable(f"there is no bucket {self._address.bucket}") from error

    async def close(self) -> None:
        """Close connections; calls under way end by themselves."""
        self._client.close()
        self._public_client.close()
        self._threads.shutdown(wait=False)
