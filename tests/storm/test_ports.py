"""What the storm puts in the ports' place: the product's adapters on a fine day, faults on a foul one."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from backend.storage import StorageUnavailable
from backend.storage.local import INCOMING
from tests.storm.relay import Relay
from tests.storm.weather import Station, StormClock, StormStorage, Weather


@pytest.fixture
def sky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tests.storm.weather._READ_EVERY_S", 0.0)
    return tmp_path / "weather.json"


@pytest.fixture
def storage(sky: Path, tmp_path: Path) -> StormStorage:
    return StormStorage(tmp_path / "store", secret=b"s", worker_url="", station=Station(sky, "web-1"))


async def whole(size: int) -> AsyncIterator[bytes]:
    yield bytes(size)


async def test_on_a_fine_day_it_is_a_folder(storage: StormStorage) -> None:
    await storage.put_bytes("a/b", b"x" * 5000)
    assert await storage.get_bytes("a/b", limit_bytes=5000) == b"x" * 5000


async def test_storage_that_errs_says_so_in_every_verb(storage: StormStorage, sky: Path) -> None:
    await storage.put_bytes("a/b", b"x")
    Weather(failing=1.0).write(sky)
    for work in (
        lambda: storage.put_bytes("a/c", b"x"),
        lambda: storage.get_bytes("a/b", limit_bytes=9),
        lambda: storage.copy("a/b", "a/d"),
        lambda: storage.delete("a/b"),
        lambda: storage.receive("a/e", whole(10), max_bytes=99),
    ):
        with pytest.raises(StorageUnavailable):
            await work()
    Weather().write(sky)
    assert [info.key async for info in storage.list_objects("")] == ["a/b"]


async def test_a_full_disk_takes_nothing_and_keeps_no_draft(storage: StormStorage, sky: Path) -> None:
    Weather(full=True).write(sky)
    with pytest.raises(StorageUnavailable):
        await storage.put_bytes("a/b", b"x" * 5000)
    with pytest.raises(StorageUnavailable):
        await storage.receive("a/c", whole(5000), max_bytes=9999)
    assert list((storage.root / INCOMING).iterdir()) == []


async def test_a_clock_that_jumped_is_wrong_in_its_own_process_alone(sky: Path) -> None:
    mine, other = StormClock(Station(sky, "web-1")), StormClock(Station(sky, "web-2"))
    Weather(jumps={"web-1": -7200.0}).write(sky)
    assert datetime.now(UTC) - mine.now() > timedelta(hours=1.9)
    assert abs(datetime.now(UTC) - other.now()) < timedelta(minutes=1)
    before = mine.monotonic()
    assert mine.monotonic() >= before


class Taker:
    """A web process that takes uploads, as far as the relay is concerned. `heard`: bodies that came whole."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.heard.append(len(await reader.readexactly(size)))
                writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def test_the_relay_passes_on_tears_the_next_upload_and_finds_another_way() -> None:
    taker = Taker()
    server = await asyncio.start_server(taker, "127.0.0.1", 0)
    dead = await asyncio.start_server(taker, "127.0.0.1", 0)
    ports = [each.sockets[0].getsockname()[1] for each in (server, dead)]
    dead.close()
    relay = Relay(ports)
    await relay.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{relay.port}", trust_env=False) as client:
            assert (await client.put("/one", content=bytes(50_000))).status_code == 201
            relay.tear_next()
            with pytest.raises(httpx.TransportError):
                await client.put("/two", content=bytes(50_000))
            assert (await client.put("/two", content=bytes(50_000))).status_code == 201
    finally:
        await relay.stop()
        server.close()
    assert taker.heard == [50_000, 50_000]
    assert relay.torn == 1
