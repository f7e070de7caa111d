"""The queue between control plane and workers: woken by its bell, polled where the bell is lost, JSON alone."""

import asyncio
import os
import pickle
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.worker import func
from redis.exceptions import ConnectionError

from backend.contracts import arq_queue
from backend.contracts.arq_queue import enqueue, open_queues, serve_queue
from backend.ending import end_tasks
from tests.integration.worker_rig import ValkeyProcess

QUEUE = "zoetrope:test:queue"
NEVER_S = 1000.0


class Taken:
    """What a server of the queue took."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[object] = asyncio.Queue()

    async def take(self, _context: dict[str, Any], message: object) -> None:
        self.messages.put_nowait(message)

    async def next(self, within_s: float = 20) -> object:
        async with asyncio.timeout(within_s):
            return await self.messages.get()


@asynccontextmanager
async def served(url: str, *, at_once: int = 10) -> AsyncIterator[Taken]:
    """A server of the queue that has taken a first message, so that it listens now."""
    taken = Taken()
    serving = asyncio.create_task(
        serve_queue(url, QUEUE, func(taken.take, name="take", timeout=20), at_once=at_once)
    )
    try:
        yield taken
    finally:
        assert await end_tasks(serving, within_s=10)


@pytest.fixture
async def queues(valkey_process: ValkeyProcess) -> AsyncIterator[ArqRedis]:
    opened = open_queues(valkey_process.url)
    yield opened
    await opened.aclose()


async def listens(queues: ArqRedis) -> None:
    """Wait until a server listens to the queue's bell."""
    async with asyncio.timeout(30):
        while True:
            with suppress(ConnectionError):
                if (await queues.pubsub_numsub(QUEUE))[0][1]:
                    return
            await asyncio.sleep(0.005)


async def test_a_sleeping_server_is_woken_by_what_is_laid_on_its_queue(
    valkey_process: ValkeyProcess, queues: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arq_queue, "POLL_S", NEVER_S)
    async with served(valkey_process.url) as taken:
        await listens(queues)
        for number in range(3):
            await enqueue(queues, QUEUE, "take", {"number": number}, job_id=str(number))
            assert await taken.next() == {"number": number}


async def test_what_was_laid_down_without_a_sound_is_found_by_looking(
    valkey_process: ValkeyProcess, queues: ArqRedis
) -> None:
    async with served(valkey_process.url) as taken:
        await listens(queues)
        await queues.enqueue_job("take", "silent", _queue_name=QUEUE)
        laid = time.monotonic()
        assert await taken.next() == "silent"
        assert time.monotonic() - laid < arq_queue.POLL_S + 5


async def test_more_than_one_round_reads_is_all_taken_without_another_sound(
    valkey_process: ValkeyProcess, queues: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arq_queue, "POLL_S", NEVER_S)
    # A round reads a hundred, and the server looks once more when it begins to listen.
    for number in range(330):
        await queues.enqueue_job("take", number, _queue_name=QUEUE)
    async with served(valkey_process.url, at_once=2) as taken:
        assert {await taken.next() for _ in range(330)} == set(range(330))


async def test_the_same_message_lies_there_once(valkey_process: ValkeyProcess, queues: ArqRedis) -> None:
    for _ in range(3):
        await enqueue(queues, QUEUE, "take", "order", job_id="one")
    assert await queues.zcard(QUEUE) == 1
    async with served(valkey_process.url) as taken:
        await taken.next()
        await enqueue(queues, QUEUE, "take", "next", job_id="two")
        assert await taken.next() == "next"
        assert taken.messages.empty()


async def test_a_server_listens_again_after_valkey_was_away(
    valkey_process: ValkeyProcess, queues: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arq_queue, "POLL_S", 0.2)
    async with served(valkey_process.url) as taken:
        await listens(queues)
        valkey_process.stop()
        valkey_process.start()
        await listens(queues)
        monkeypatch.setattr(arq_queue, "POLL_S", NEVER_S)
        await enqueue(queues, QUEUE, "take", "heard again", job_id="after")
        assert await taken.next() == "heard again"


async def test_a_server_that_is_ended_ends_what_it_runs(
    valkey_process: ValkeyProcess, queues: ArqRedis
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stay(_context: dict[str, Any], _message: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    serving = asyncio.create_task(
        serve_queue(valkey_process.url, QUEUE, func(stay, name="stay", timeout=1000), at_once=1)
    )
    await enqueue(queues, QUEUE, "stay", "for ever", job_id="stay")
    async with asyncio.timeout(20):
        await begun.wait()
    assert await end_tasks(serving, within_s=10)
    assert ended.is_set()


class _Poison:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


async def test_a_pickle_in_the_queue_is_not_unpickled(
    valkey_process: ValkeyProcess, queues: ArqRedis, tmp_path: Path
) -> None:
    poison = pickle.dumps({"t": 1, "f": "take", "a": (_Poison(tmp_path / "run"),), "k": {}, "et": 1})
    await queues.set("arq:job:poison", poison)
    await queues.zadd(QUEUE, {"poison": 1})
    await enqueue(queues, QUEUE, "take", "after it", job_id="good")
    async with served(valkey_process.url) as taken:
        assert await taken.next() == "after it"
    assert not (tmp_path / "run").exists()
