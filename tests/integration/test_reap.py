"""Nobody is declared dead by someone who was deaf; what was said before somebody listened renews nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from backend.clock import FakeClock, SystemClock
from backend.contracts import Heartbeat, Mailbox
from backend.contracts.wire import UPLINK_FIELD, WORKERS_KEY
from backend.domain.attempt import LEASE
from backend.ending import end_tasks
from backend.services.get_generation import get_generation
from backend.studio import Studio
from backend.wakeups import connect
from jobs import collect, reap
from jobs.collect import Collector
from jobs.hearing import Hearing
from tests.integration.life_rig import MessageWorker, make_creator, submit


class StoppedHearing(Hearing):
    """Has heard for as long as it is told; says how often it was asked."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.heard_s = 0.0
        self.asked = asyncio.Semaphore(0)

    def for_s(self) -> float:
        self.asked.release()
        return self.heard_s

    async def asked_times(self, count: int) -> None:
        for _ in range(count):
            await self.asked.acquire()


async def test_a_leader_that_was_deaf_buries_nobody(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reap, "EVERY_S", 0.01)
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    jobs = [await submit(studio, creator), await submit(studio, creator)]
    silent = await worker.take(jobs[0].id)
    await worker.step(silent, 3)
    still = await MessageWorker(studio, worker_id="w2").take(jobs[1].id)
    await MessageWorker(studio, worker_id="w2").step(still, 3)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE attempts SET lease_expires_at = now() - interval '1 minute' WHERE id = :id"),
            {"id": silent.attempt_id},
        )
        await session.execute(
            text("UPDATE attempts SET progressed_at = now() - interval '1 day' WHERE id = :id"),
            {"id": still.attempt_id},
        )

    async def states() -> list[str]:
        return [(await get_generation(studio, creator, job.id)).state for job in jobs]

    hearing = StoppedHearing()
    hearing.heard_s = LEASE.total_seconds() - 0.1
    reaping = asyncio.create_task(reap.reap(studio, hearing))
    try:
        async with asyncio.timeout(20):
            await hearing.asked_times(5)
            assert await states() == ["running", "running"]
            hearing.heard_s = LEASE.total_seconds()
            while await states() != ["queued", "queued"]:
                await hearing.asked_times(1)
    finally:
        assert await end_tasks(reaping, within_s=10)


@asynccontextmanager
async def _collecting(
    studio: Studio, valkey_url: str, saw: Callable[[Heartbeat], None]
) -> AsyncIterator[Hearing]:
    redis, hearing = connect(valkey_url), Hearing(SystemClock())

    async def heard(heartbeat: Heartbeat) -> None:
        saw(heartbeat)

    collecting = asyncio.create_task(Collector(studio, redis, hearing, heard).run())
    try:
        yield hearing
    finally:
        assert await end_tasks(collecting, within_s=10)
        await redis.aclose()


async def _say(studio: Studio, heartbeat: Heartbeat) -> None:
    redis = studio.wakeups.redis
    await redis.sadd(WORKERS_KEY, heartbeat.worker_id)
    await redis.xadd(Mailbox(heartbeat.worker_id).uplink, {UPLINK_FIELD: heartbeat.model_dump_json()})


async def test_a_leader_that_can_not_record_what_it_reads_is_deaf(
    studio: Studio, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, record = MessageWorker(studio), collect.accept_heartbeat
    heard, away, failed = 0, False, 0

    async def failing(given: Studio, heartbeat: Heartbeat) -> object:
        nonlocal failed
        if away:
            failed += 1
            raise OperationalError("the database is away", None, Exception())
        return await record(given, heartbeat)

    def saw(_: Heartbeat) -> None:
        nonlocal heard
        heard += 1

    monkeypatch.setattr(collect, "accept_heartbeat", failing)
    async with asyncio.timeout(30), _collecting(studio, valkey_url, saw) as hearing:
        while heard < 2:
            await _say(studio, worker.heartbeat())
            await asyncio.sleep(0.05)
        assert hearing.for_s() > 0
        away = True
        while failed < 2:
            await _say(studio, worker.heartbeat())
            await asyncio.sleep(0.05)
        assert hearing.for_s() == 0
        away = False
        before = heard
        while heard == before:
            await _say(studio, worker.heartbeat())
            await asyncio.sleep(0.05)


async def test_what_lay_in_the_stream_before_the_leader_came_renews_nothing(
    studio: Studio, valkey_url: str
) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    order = await worker.take((await submit(studio, creator)).id)
    await _say(studio, worker.heartbeat(worker.status(order, 9)))
    other, seen = MessageWorker(studio, worker_id="w2"), []
    await _say(studio, other.heartbeat())
    async with (
        asyncio.timeout(30),
        _collecting(studio, valkey_url, lambda beat: seen.append(beat.worker_id)),
    ):
        # Both streams are found together and read together, so what is heard of one was read of both.
        while seen.count("w2") < 3:
            await _say(studio, other.heartbeat())
            await asyncio.sleep(0.05)
    assert set(seen) == {"w2"}
    assert (await get_generation(studio, creator, order.job_id)).steps_done == 0
