"""Signed URLs of the local store over HTTP: what is signed works once understood, and nothing else does."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from backend.api.objects import router
from backend.clock import FakeClock
from backend.db.engine import Database
from backend.settings import Settings
from backend.storage.local import INCOMING, LocalStorage
from backend.studio import Studio
from backend.wakeups import Wakeups, connect
from backend.web_process import WebProcess

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> LocalStorage:
    return LocalStorage(tmp_path, secret=b"s" * 32, worker_url="http://studio", clock=clock)


@pytest.fixture
async def client(store: LocalStorage, clock: FakeClock) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(router)
    studio = Studio(
        settings=Settings(),
        db=Database("postgresql://nobody@localhost/none"),
        storage=store,
        wakeups=Wakeups(connect("redis://localhost:1")),
        clock=clock,
    )
    app.state.process = WebProcess(lambda: studio)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as http:
        yield http


async def test_a_clip_is_read_whole_in_part_and_from_its_end(
    client: httpx.AsyncClient, store: LocalStorage
) -> None:
    await store.put_bytes("clip.mp4", bytes(range(200)))
    url = await store.signed_get("clip.mp4", ttl=MINUTE)
    whole = await client.get(url)
    assert (whole.status_code, whole.content) == (200, bytes(range(200)))
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    part = await client.get(url, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-range"] == "bytes 10-19/200"
    assert (await client.get(url, headers={"range": "bytes=-5"})).content == bytes(range(195, 200))
    assert (await client.get(url, headers={"range": "bytes=190-"})).content == bytes(range(190, 200))
    beyond = await client.get(url, headers={"range": "bytes=200-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */200")
    assert (await client.get(url, headers={"range": f"bytes={'9' * 5000}-"})).status_code == 416
    assert (await client.get(url, headers={"range": f"bytes=198-{'9' * 5000}"})).content == bytes([198, 199])
    assert (await client.get(url, headers={"range": f"bytes={'0' * 5000}198-"})).status_code == 206
    head = await client.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "200", b"")


async def test_a_named_download_is_an_attachment(client: httpx.AsyncClient, store: LocalStorage) -> None:
    await store.put_bytes("clip.mp4", b"x")
    answer = await client.get(await store.signed_get("clip.mp4", ttl=MINUTE, filename='ä "x".mp4'))
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A4%20%22x%22.mp4"


async def test_what_is_no_picture_or_clip_never_opens_in_the_browser(
    client: httpx.AsyncClient, store: LocalStorage
) -> None:
    await store.put_bytes("page.html", b"<script>alert(1)</script>")
    answer = await client.get(await store.signed_get("page.html", ttl=MINUTE))
    assert answer.headers["content-disposition"] == "attachment"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clip.mp4", "other.mp4"),
        ("expires=17", "expires=27"),
        ("sig=", "for=moderator&sig="),
        ("sig=", "for=anybody&sig="),
        ("sig=", "sig=0"),
        ("&sig=", "&name=x.exe&sig="),
        ("&sig=", "&type=text%2Fhtml&sig="),
        ("&sig=", "&nosig="),
        ("expires=", "expires=x"),
    ],
)
async def test_a_url_that_was_changed_opens_nothing(
    client: httpx.AsyncClient, store: LocalStorage, old: str, new: str
) -> None:
    await store.put_bytes("clip.mp4", b"x")
    await store.put_bytes("other.mp4", b"x")
    url = await store.signed_get("clip.mp4", ttl=MINUTE)
    assert old in url
    assert (await client.get(url.replace(old, new, 1))).status_code == 403


async def test_a_url_without_signature_opens_nothing(client: httpx.AsyncClient, store: LocalStorage) -> None:
    await store.put_bytes("clip.mp4", b"x")
    for path in ("/objects/clip.mp4", "/objects/..%2f..%2fetc%2fpasswd", "/objects/.incoming"):
        assert (await client.get(path)).status_code == 403


async def test_a_url_ends(client: httpx.AsyncClient, store: LocalStorage, clock: FakeClock) -> None:
    await store.put_bytes("clip.mp4", b"x")
    url = await store.signed_get("clip.mp4", ttl=MINUTE)
    clock.advance(timedelta(seconds=40))
    assert (await client.get(url)).status_code == 200
    clock.advance(timedelta(seconds=21))
    assert (await client.get(url)).status_code == 410


async def test_the_same_clip_keeps_its_url_for_a_while(store: LocalStorage, clock: FakeClock) -> None:
    first = await store.signed_get("clip.mp4", ttl=timedelta(hours=1))
    clock.advance(timedelta(minutes=10))
    assert await store.signed_get("clip.mp4", ttl=timedelta(hours=1)) == first


async def test_a_deleted_object_is_not_found(client: httpx.AsyncClient, store: LocalStorage) -> None:
    assert (await client.get(await store.signed_get("clip.mp4", ttl=MINUTE))).status_code == 404


async def test_a_worker_writes_what_was_signed(client: httpx.AsyncClient, store: LocalStorage) -> None:
    put = await store.signed_put("jobs/1/clip.mp4", ttl=MINUTE, content_type="video/mp4", max_bytes=10)
    assert (await client.put(put.url, content=b"0123456789", headers=put.headers)).status_code == 201
    assert await store.get_bytes("jobs/1/clip.mp4", limit_bytes=10) == b"0123456789"


async def test_a_write_past_its_size_is_refused_with_or_without_a_length(
    client: httpx.AsyncClient, store: LocalStorage, tmp_path: Path
) -> None:
    put = await store.signed_put("clip.mp4", ttl=MINUTE, content_type="video/mp4", max_bytes=10)

    async def unannounced() -> AsyncIterator[bytes]:
        yield b"0" * 8
        yield b"0" * 8

    assert (await client.put(put.url, content=b"0" * 11, headers=put.headers)).status_code == 413
    assert (await client.put(put.url, content=unannounced(), headers=put.headers)).status_code == 413
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert (tmp_path / INCOMING).is_dir()


async def test_reading_rights_do_not_write_nor_the_other_way_round(
    client: httpx.AsyncClient, store: LocalStorage, clock: FakeClock
) -> None:
    await store.put_bytes("clip.mp4", b"x")
    get = await store.signed_get("clip.mp4", ttl=MINUTE)
    put = await store.signed_put("clip.mp4", ttl=MINUTE, content_type="video/mp4", max_bytes=10)
    path = urlsplit(put.url)
    assert (await client.put(get, content=b"y")).status_code == 403
    assert (await client.get(f"{path.path}?{path.query}")).status_code == 403
    assert (await client.put(put.url, content=b"y", headers={"content-type": "text/html"})).status_code == 415
    clock.advance(MINUTE)
    assert (await client.put(put.url, content=b"y", headers=put.headers)).status_code == 410
    assert await store.get_bytes("clip.mp4", limit_bytes=10) == b"x"
