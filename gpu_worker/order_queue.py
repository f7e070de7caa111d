"""The worker's own arq queue, kept open for ever. arq is only the transport: it hands an order over.

An arq worker exits when Valkey goes away. It is started again with backoff, while running attempts go on.
"""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable
from typing import Any

from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.asyncio import ConnectionPool

from backend.contracts import Mailbox
from backend.contracts.wire import ORDER_FUNCTION
from backend.log import get_logger

log = get_logger(__name__)

POLL_DELAY_S = 0.03
HANDOVER_TIMEOUT_S = 20
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 3.0
_NEVER_S = 24 * 3600


def to_json(value: dict[str, Any]) -> bytes:
    """arq's job as JSON: a pickle from a queue would let whoever writes to it run code here."""
    return json.dumps(value, default=str).encode()


def from_json(data: bytes) -> dict[str, Any]:
    """The inverse of `to_json`."""
    value: dict[str, Any] = json.loads(data)
    return value


async def serve_orders(redis_url: str, worker_id: str, accept: Callable[[object], None]) -> None:
    """Hand every order of this worker's queue to `accept`, until cancelled."""
    logging.getLogger("arq").setLevel(logging.WARNING)

    async def run_order(_context: dict[str, Any], order: object) -> None:
        accept(order)

    delay_s = _FIRST_DELAY_S
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await _serve_until_cut_off(redis_url, worker_id, run_order)
        except Exception as error:  # noqa: BLE001  # arq lets through whatever its connection raises
            log.warning("orders.cut_off", worker_id=worker_id, reason=type(error).__name__)
        if asyncio.get_running_loop().time() - started > _LONGEST_DELAY_S:
            delay_s = _FIRST_DELAY_S
        await asyncio.sleep(delay_s * random.uniform(0.7, 1.3))
        delay_s = min(2 * delay_s, _LONGEST_DELAY_S)


async def _serve_until_cut_off(redis_url: str, worker_id: str, run_order: Callable[..., Any]) -> None:
    pool = ConnectionPool.from_url(redis_url, socket_connect_timeout=3.0, socket_timeout=10.0)
    redis = ArqRedis(pool, job_serializer=to_json, job_deserializer=from_json)
    worker = Worker(
        functions=[func(run_order, name=ORDER_FUNCTION, max_tries=1, keep_result=0)],
        queue_name=Mailbox(worker_id).orders,
        redis_pool=redis,
        handle_signals=False,
        max_tries=1,
        keep_result=0,
        job_timeout=HANDOVER_TIMEOUT_S,
        poll_delay=POLL_DELAY_S,
        health_check_interval=_NEVER_S,
        job_serializer=to_json,
        job_deserializer=from_json,
        log_results=False,
    )
    try:
        await worker.async_run()
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2.0):
                await redis.aclose()
                await pool.disconnect()
