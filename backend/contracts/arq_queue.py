"""arq as a thin transport, both ends of it: JSON in a queue, a bell beside it, and a server that sleeps until it rings.

The one place where an arq queue is opened, written to and served; control plane and GPU workers share it.
"""

import asyncio
import contextlib
import logging
import random
from typing import Any, Final

from arq.connections import ArqRedis
from arq.constants import (
    abort_jobs_ss,
    in_progress_key_prefix,
    job_key_prefix,
    result_key_prefix,
    retry_key_prefix,
)
from arq.worker import Function, Worker
from redis.asyncio import ConnectionPool

from backend.contracts.bell import listen
from backend.contracts.wire import from_json, to_json
from backend.ending import end_tasks
from backend.log import get_logger

log = get_logger(__name__)

POLL_S = 1.0
"""How long something lies unnoticed at the most where the bell was lost.

arq knows no bell, it polls: at 30 ms an idle worker took 1.45 % of a core, and an order waited for the next poll, p50
16 and p95 32 ms from sending to accepting. Woken it is 0.3 %, 2 and 7 ms (`docs/operations.md` says how to measure).
"""
CONNECT_S = 3.0
SILENCE_S = 10.0
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 3.0
NEVER_S = 24 * 3600
ABORT_KEY: Final = abort_jobs_ss
"""One set for all queues; nothing here puts anything into it."""


def open_queues(redis_url: str) -> ArqRedis:
    """A connection that can enqueue; its time-outs are short, since every caller comes back."""
    pool = ConnectionPool.from_url(redis_url, socket_connect_timeout=CONNECT_S, socket_timeout=SILENCE_S)
    return ArqRedis(pool, job_serializer=to_json, job_deserializer=from_json)


async def enqueue(queues: ArqRedis, queue: str, function: str, message: object, *, job_id: str) -> None:
    """Lay a message on a queue and ring its bell. Sent twice while it lies there, it lies there once.

    Raises `RedisError` and `OSError`. The bell is a channel of the queue's own name.
    """
    await queues.enqueue_job(function, message, _queue_name=queue, _job_id=f"{queue}:{job_id}")
    await queues.publish(queue, b"1")


def job_keys(queue: str) -> tuple[str, ...]:
    """Patterns of all keys that belong to jobs of a queue, so that an access rule can fence them with it."""
    prefixes = (job_key_prefix, in_progress_key_prefix, retry_key_prefix, result_key_prefix)
    return tuple(f"{prefix}{queue}:*" for prefix in prefixes)


async def serve_queue(redis_url: str, queue: str, function: Function, *, at_once: int) -> None:
    """Serve a queue until cancelled; `at_once` bounds what is under way in this process.

    An arq worker exits when Valkey goes away. It is started again with backoff; what runs goes on meanwhile.
    """
    logging.getLogger("arq").setLevel(logging.WARNING)
    delay_s = FIRST_DELAY_S
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await _serve_until_cut_off(redis_url, queue, function, at_once)
        except Exception as error:  # noqa: BLE001  # arq lets through whatever its connection raises
            log.warning("queue.cut_off", queue=queue, error=type(error).__name__)
        if asyncio.get_running_loop().time() - started > LONGEST_DELAY_S:
            delay_s = FIRST_DELAY_S
        await asyncio.sleep(delay_s * random.uniform(0.7, 1.3))
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)


async def _serve_until_cut_off(redis_url: str, queue: str, function: Function, at_once: int) -> None:
    redis = open_queues(redis_url)
    worker = _WokenWorker(
        functions=[function],
        queue_name=queue,
        redis_pool=redis,
        handle_signals=False,
        max_jobs=at_once,
        max_tries=1,
        keep_result=0,
        poll_delay=0,
        health_check_interval=NEVER_S,
        job_serializer=to_json,
        job_deserializer=from_json,
        log_results=False,
    )
    listening = asyncio.create_task(listen(redis, queue, worker.wake))
    try:
        await worker.async_run()
    except asyncio.CancelledError:
        await end_tasks(*worker.tasks.values(), within_s=3.0)
        raise
    finally:
        for task in worker.tasks.values():
            # What still runs can't be taken off the queue by a connection that is gone; nobody asks how it ended.
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await end_tasks(listening, within_s=2.0)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2.0):
                await redis.aclose()
                await redis.connection_pool.disconnect()


class _WokenWorker(Worker):
    """arq's worker, asleep between its rounds until its queue's bell rings or a place in it is free again."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(after_job_end=self._ended, **settings)
        self._rung = asyncio.Event()

    def wake(self) -> None:
        """Look into the queue now."""
        self._rung.set()

    async def heart_beat(self) -> None:
        """The end of a round, in which arq would write a health key and look for cron jobs: sleep."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._rung.wait()
        self._rung.clear()

    async def _ended(self, ctx: dict[Any, Any]) -> None:
        # A round reads a bounded number of jobs, so more of them may lie in the queue.
        self.wake()
