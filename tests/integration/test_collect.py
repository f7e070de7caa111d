"""Reading what workers send up: nobody's message waits for another worker's."""

import asyncio

import pytest

from backend.contracts import Heartbeat, Mailbox, Report
from backend.contracts.wire import UPLINK_FIELD, WORKERS_KEY
from backend.ending import end_tasks
from backend.services.get_generation import get_generation
from backend.storage import ObjectInfo
from backend.studio import Studio
from backend.wakeups import connect
from jobs.collect import Collector
from jobs.hearing import Hearing
from tests.integration.life_rig import MessageWorker, make_creator, submit


async def _say(studio: Studio, message: Heartbeat | Report) -> None:
    redis = studio.wakeups.redis
    await redis.xadd(Mailbox(message.worker_id).uplink, {UPLINK_FIELD: message.model_dump_json()})


async def test_a_report_whose_objects_are_slow_to_find_delays_no_other_workers_lease(
    studio: Studio, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator = await make_creator(studio)
    slow, quick = MessageWorker(studio, worker_id="slow"), MessageWorker(studio, worker_id="quick")
    orders = [await each.take((await submit(studio, creator)).id) for each in (slow, quick)]
    report = await slow.write(orders[0])
    looked, answer, heard = asyncio.Event(), asyncio.Event(), asyncio.Event()
    head = studio.storage.head

    async def slow_head(key: str) -> ObjectInfo:
        looked.set()
        await answer.wait()
        return await head(key)

    async def saw(heartbeat: Heartbeat) -> None:
        if heartbeat.worker_id == "quick":
            heard.set()

    monkeypatch.setattr(studio.storage, "head", slow_head)
    redis = connect(valkey_url)
    collector = asyncio.create_task(Collector(studio, redis, Hearing(studio.clock), saw).run())
    try:
        # Both are there when the collector looks for the first time, so that it reads them together.
        await _say(studio, slow.heartbeat())
        await _say(studio, quick.heartbeat())
        await redis.sadd(WORKERS_KEY, "slow", "quick")
        async with asyncio.timeout(20):
            while not looked.is_set():
                await _say(studio, report)
                await _say(studio, quick.heartbeat(quick.status(orders[1], 3)))
                await asyncio.sleep(0.05)
            await heard.wait()
        assert (await get_generation(studio, creator, orders[1].job_id)).steps_done == 3
        assert (await get_generation(studio, creator, orders[0].job_id)).state == "assigned"
    finally:
        answer.set()
        assert await end_tasks(collector, within_s=10)
        await redis.aclose()
