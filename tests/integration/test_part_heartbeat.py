"""A control or moderation worker that hangs is seen, wherever somebody looks."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from backend import doctor
from backend.api.app import WebProcess, create_app
from backend.part_heartbeat import KEPT, PREFIX, beating, heartbeat_ages_s
from backend.studio import Studio
from backend.wakeups import connect
from tests.conftest import REPOSITORY

KEY = PREFIX + "moderator"
MODERATOR = """
import asyncio
from jobs.process import run_process
run_process("moderator", lambda _studio, _redis_url: [asyncio.sleep(3600)], pool_size=1)
"""
WITHIN_S = 60.0


@contextmanager
def moderator(studio: Studio) -> Iterator["subprocess.Popen[bytes]"]:
    """A moderation worker with nothing to do."""
    process = subprocess.Popen(
        [sys.executable, "-c", MODERATOR],
        env={
            **os.environ,
            "ZOETROPE_DATABASE_URL": studio.settings.require_database_url(),
            "ZOETROPE_REDIS_URL": studio.settings.require_redis_url(),
        },
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    client = connect(valkey_url)
    await client.delete(KEY)
    yield client
    await client.aclose()


async def readiness(studio: Studio) -> str:
    transport = httpx.ASGITransport(create_app(WebProcess(lambda: studio)))
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as http:
        answer = await http.get("/readyz")
    said = str(answer.json()["checks"]["moderator"])
    assert said == "ok" or answer.status_code == 503
    return said


async def figures(studio: Studio) -> dict[str, float]:
    transport = httpx.ASGITransport(create_app(WebProcess(lambda: studio)), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        lines = (await http.get("/metrics")).text.splitlines()
    found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in found}


async def examined(studio: Studio) -> doctor.Finding:
    return await asyncio.to_thread(doctor._part, "moderator", studio.settings)


async def heard(redis: Redis, process: "subprocess.Popen[bytes]") -> None:
    async with asyncio.timeout(WITHIN_S):
        while await redis.pttl(KEY) < (KEPT - timedelta(seconds=5)) / timedelta(milliseconds=1):
            assert process.poll() is None
            await asyncio.sleep(0.05)


async def test_a_part_that_hangs_is_named_and_is_well_once_it_goes_on(studio: Studio, redis: Redis) -> None:
    assert await readiness(studio) == "never heard"
    with moderator(studio) as process:
        await heard(redis, process)
        assert await readiness(studio) == "ok"
        assert not (await examined(studio)).broken
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        # Half a minute passes, by the only clock that counts.
        await redis.pexpire(KEY, KEPT - timedelta(seconds=34))
        assert (await readiness(studio)).startswith("silent for 3")
        finding = await examined(studio)
        assert finding.broken
        assert finding.found.startswith("silent for 3")
        assert "zoetrope moderator" in finding.remedy
        assert 34 <= (await figures(studio))['zoetrope_part_heartbeat_age_seconds{part="moderator"}'] < 60
        process.send_signal(signal.SIGCONT)
        await heard(redis, process)
        assert await readiness(studio) == "ok"


async def test_without_valkey_the_supervisor_hears_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr("backend.part_heartbeat.EVERY_S", 0.0)
    away = connect("redis://127.0.0.1:1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)
        async with beating(away, "moderator"), asyncio.timeout(WITHIN_S):
            for _ in range(3):
                assert await asyncio.get_running_loop().sock_recv(listener, 64) == b"WATCHDOG=1"
    await away.aclose()


async def test_a_listener_that_does_not_read_holds_nothing_up(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr("backend.part_heartbeat.EVERY_S", 0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        fill(address)
        async with beating(redis, "moderator"), asyncio.timeout(WITHIN_S):
            while (await heartbeat_ages_s(redis))["moderator"] is None:
                await asyncio.sleep(0)


def fill(address: str) -> None:
    """Send until the listener's box is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            while True:
                sender.sendto(b"WATCHDOG=1", address)
        except BlockingIOError:
            return
