"""Every store keeps the same promises: the folder, and S3 (against a server that answers as S3 does)."""

import io
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from backend.operator_errors import BadSettingError
from backend.storage import (
    BadKey,
    ObjectNotFound,
    ObjectTooLarge,
    Reader,
    Storage,
    StorageUnavailable,
    download,
)
from backend.storage.local import INCOMING, LocalStorage
from backend.storage.s3 import S3Storage, parse_s3_url

SECRET = b"s" * 32


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"s3://testing:testing@{host}:{port}/studio/objects?tls=false&region=us-east-1"
    server.stop()


@pytest.fixture(params=["local", "s3"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "local":
        store: Storage = LocalStorage(tmp_path / "objects", secret=SECRET, worker_url="http://control:1")
    else:
        address = parse_s3_url(request.getfixturevalue("s3_url"))
        httpx.put(f"{address.endpoint}/{address.bucket}")
        store = S3Storage(address)
        async for left in store.list_objects(""):
            await store.delete(left.key)
    yield store
    await store.close()


async def test_what_was_put_is_read_back(storage: Storage) -> None:
    await storage.put_bytes("jobs/video_1/2/clip.mp4", b"clip", content_type="video/mp4")
    assert await storage.get_bytes("jobs/video_1/2/clip.mp4", limit_bytes=10) == b"clip"
    assert (await storage.head("jobs/video_1/2/clip.mp4")).size_bytes == 4


async def test_a_put_replaces_what_was_there(storage: Storage) -> None:
    await storage.put_bytes("a/b", b"first")
    await storage.put_bytes("a/b", b"second")
    assert await storage.get_bytes("a/b", limit_bytes=10) == b"second"


async def test_a_large_file_goes_up_and_comes_down_whole(storage: Storage, tmp_path: Path) -> None:
    body = os.urandom(9 * 1024 * 1024)
    (tmp_path / "large").write_bytes(body)
    await storage.put_file("large.mp4", tmp_path / "large")
    target = io.BytesIO()
    _digest, size = await download(storage, "large.mp4", target, limit_bytes=len(body))
    assert size == len(body)
    assert target.getvalue() == body


async def test_ranges_are_read(storage: Storage) -> None:
    await storage.put_bytes("r", bytes(range(100)))
    assert b"".join([c async for c in storage.stream("r", start=10, length=5)]) == bytes(range(10, 15))
    assert b"".join([c async for c in storage.stream("r", start=95)]) == bytes(range(95, 100))
    assert b"".join([c async for c in storage.stream("r", start=200)]) == b""
    assert b"".join([c async for c in storage.stream("r", start=3, length=0)]) == b""


async def test_an_object_past_the_readers_limit_is_refused(storage: Storage) -> None:
    await storage.put_bytes("big", b"12345")
    with pytest.raises(ObjectTooLarge):
        await storage.get_bytes("big", limit_bytes=4)
    with pytest.raises(ObjectTooLarge):
        await download(storage, "big", io.BytesIO(), limit_bytes=4)


async def test_what_is_not_there_is_not_found_and_may_be_deleted_again(storage: Storage) -> None:
    with pytest.raises(ObjectNotFound):
        await storage.get_bytes("no/such", limit_bytes=1)
    with pytest.raises(ObjectNotFound):
        await storage.head("no/such")
    with pytest.raises(ObjectNotFound):
        await storage.copy("no/such", "other")
    await storage.put_bytes("no/such", b"x")
    await storage.delete("no/such")
    await storage.delete("no/such")
    with pytest.raises(ObjectNotFound):
        await storage.head("no/such")


async def test_a_copy_stays_when_its_source_goes(storage: Storage) -> None:
    await storage.put_bytes("from/here", b"bytes")
    await storage.copy("from/here", "to/there")
    await storage.delete("from/here")
    assert await storage.get_bytes("to/there", limit_bytes=10) == b"bytes"


async def test_a_listing_holds_its_folder_alone(storage: Storage) -> None:
    for key in ("jobs/video_1/1/clip.mp4", "jobs/video_1/2/clip.mp4", "jobs/video_11/1/clip.mp4"):
        await storage.put_bytes(key, b"x")
    assert {o.key async for o in storage.list_objects("jobs/video_1/")} == {
        "jobs/video_1/1/clip.mp4",
        "jobs/video_1/2/clip.mp4",
    }
    assert len([o async for o in storage.list_objects("")]) == 3


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".incoming/x", "a\\b", "a b", "a\n", "é", "x" * 600],
)
async def test_keys_that_could_leave_the_folder_are_refused(storage: Storage, key: str) -> None:
    with pytest.raises(BadKey):
        await storage.put_bytes(key, b"x")
    with pytest.raises(BadKey):
        await storage.signed_get(key, ttl=timedelta(minutes=1))
    with pytest.raises(BadKey):
        await storage.delete(key)


async def test_a_store_that_works_answers_a_ping(storage: Storage) -> None:
    await storage.ping()
    assert [o async for o in storage.list_objects("")] == []


async def test_presigned_urls_of_s3_read_and_write_one_object(s3_url: str) -> None:
    address = parse_s3_url(s3_url)
    httpx.put(f"{address.endpoint}/{address.bucket}")
    store = S3Storage(address)
    put = await store.signed_put(
        "jobs/a/clip.mp4", ttl=timedelta(minutes=5), content_type="video/mp4", max_bytes=100
    )
    assert httpx.put(put.url, content=b"clip", headers=put.headers).is_success
    url = await store.signed_get("jobs/a/clip.mp4", ttl=timedelta(minutes=5), filename="my clip.mp4")
    answer = httpx.get(url, headers={"range": "bytes=1-2"})
    assert (answer.status_code, answer.content) == (206, b"li")
    assert "X-Amz-Expires=300" in url
    await store.close()


async def test_a_bucket_that_cannot_be_reached_is_unavailable() -> None:
    store = S3Storage(parse_s3_url("s3://a:b@127.0.0.1:9/none?tls=false&region=us-east-1"))
    with pytest.raises(StorageUnavailable):
        await store.ping()
    await store.close()


def test_s3_urls_say_where_the_bucket_is() -> None:
    aws = parse_s3_url("s3://clips/prod/eu?region=eu-west-1")
    assert (aws.bucket, aws.prefix, aws.endpoint, aws.path_style) == ("clips", "prod/eu/", None, False)
    own = parse_s3_url("s3://k%2Fey:se%2Bcret@minio.lan:9000/clips?tls=false")
    assert (own.endpoint, own.bucket, own.prefix) == ("http://minio.lan:9000", "clips", "")
    assert (own.access_key, own.secret_key, own.path_style) == ("k/ey", "se+cret", True)
    with pytest.raises(BadSettingError):
        parse_s3_url("s3://key:secret@minio.lan:9000/")


async def test_an_upload_that_stops_midway_leaves_nothing(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path, secret=SECRET, worker_url="http://control:1")
    await store.put_bytes("clip", b"before")

    async def cut() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.receive("clip", cut(), max_bytes=10_000_000)
    with pytest.raises(ObjectTooLarge):
        await store.receive("clip", cut(), max_bytes=1_000)
    assert await store.get_bytes("clip", limit_bytes=10) == b"before"
    assert list((tmp_path / INCOMING).iterdir()) == []


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = LocalStorage(tmp_path / "file", secret=SECRET, worker_url="http://control:1")
    with pytest.raises(StorageUnavailable):
        await store.ping()


class FullDisk(LocalStorage):
    """A folder on a disk without room: drafts are made, and every byte to them fails as it does there."""

    def _open_draft(self) -> tuple[Path, BinaryIO]:
        draft, file = super()._open_draft()
        file.close()
        return draft, open("/dev/full", "wb")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
@pytest.mark.parametrize("size", [4, 3_000_000])
async def test_a_full_disk_is_unavailable_and_keeps_no_drafts(tmp_path: Path, size: int) -> None:
    store = FullDisk(tmp_path / "objects", secret=SECRET, worker_url="http://control:1")
    (tmp_path / "source").write_bytes(b"x" * size)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * size

    for writing in (
        store.put_bytes("a", b"x" * size),
        store.put_file("a", tmp_path / "source"),
        store.receive("a", pieces(), max_bytes=size),
        store.ping(),
    ):
        with pytest.raises(StorageUnavailable, match="No space left"):
            await writing
    assert list((tmp_path / "objects" / INCOMING).iterdir()) == []
    assert [info async for info in store.list_objects("")] == []


async def test_a_folder_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path / "objects", secret=SECRET, worker_url="http://control:1")
    await store.put_bytes("a", b"x")
    shutil.rmtree(tmp_path / "objects")
    await store.put_bytes("a", b"y")
    assert await store.get_bytes("a", limit_bytes=1) == b"y"


async def test_workers_get_whole_urls_and_browsers_paths(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path, secret=SECRET, worker_url="http://control:8400/")
    minute = timedelta(minutes=1)
    assert (await store.signed_get("a", ttl=minute)).startswith("/objects/a?")
    assert (await store.signed_get("a", ttl=minute, reader=Reader.WORKER)).startswith(
        "http://control:8400/objects/a?"
    )
    put = await store.signed_put("a", ttl=minute, content_type="video/mp4", max_bytes=5)
    assert put.url.startswith("http://control:8400/objects/a?")
    assert put.headers == {"content-type": "video/mp4"}


async def test_a_new_folder_is_closed_to_others(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path / "storage", secret=SECRET, worker_url="http://control:1")
    await store.put_bytes("jobs/a/clip.mp4", b"x")
    assert stat.S_IMODE((tmp_path / "storage").stat().st_mode) == 0o700
