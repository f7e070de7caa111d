"""How long an order takes from `send_order` to a worker's `accept`: arq as it polls, and arq woken, in one run.

Run: .venv/bin/python tools/bench_handover.py [ORDERS]   (needs nothing running)
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arq.worker import Worker, func

from backend.contracts.arq_queue import enqueue, open_queues, serve_queue
from backend.contracts.wire import from_json, to_json
from backend.embedded_valkey import EmbeddedValkey
from backend.ending import end_tasks

POLLED_EVERY_S = 0.03
Server = Callable[[str, str, Any], Coroutine[Any, Any, None]]


async def polling(url: str, queue: str, function: Any) -> None:
    """arq's own worker."""
    await Worker(
        functions=[function],
        queue_name=queue,
        redis_pool=open_queues(url),
        handle_signals=False,
        poll_delay=POLLED_EVERY_S,
        keep_result=0,
        job_serializer=to_json,
        job_deserializer=from_json,
    ).async_run()


async def woken(url: str, queue: str, function: Any) -> None:
    """Ours."""
    await serve_queue(url, queue, function, at_once=10)


async def measure(url: str, name: str, server: Server, orders: int) -> None:
    """Orders at random moments to an idle worker, one at a time; and what the idle worker costs."""
    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def take(_context: dict[str, Any], _message: object) -> None:
        arrived.put_nowait(time.perf_counter())

    serving = asyncio.create_task(server(url, name, func(take, name="take", timeout=20)))
    queues = open_queues(url)
    await asyncio.sleep(1)
    took_ms = []
    for number in range(orders):
        await asyncio.sleep(random.uniform(0.02, 0.12))
        sent = time.perf_counter()
        await enqueue(queues, name, "take", {"spec": "x" * 4000}, job_id=f"{name}-{number}")
        took_ms.append(1000 * (await arrived.get() - sent))
    began, worked = time.perf_counter(), time.process_time()
    await asyncio.sleep(10)
    idle = (time.process_time() - worked) / (time.perf_counter() - began)
    centiles = statistics.quantiles(took_ms, n=100)
    print(
        f"{name:<8} p50 {centiles[49]:5.1f} ms  p95 {centiles[94]:5.1f} ms  idle {100 * idle:.2f} % of a core"
    )
    await end_tasks(serving, within_s=5)
    await queues.aclose()


async def main() -> None:
    """Both, on a Valkey of their own."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with tempfile.TemporaryDirectory(prefix="zb-", dir="/tmp") as folder:
        valkey = EmbeddedValkey(Path(folder) / "v", sockets=Path(folder), log=Path(folder) / "log")
        valkey.start()
        try:
            await measure(valkey.url, "polling", polling, orders)
            await measure(valkey.url, "woken", woken, orders)
        finally:
            valkey.stop()


if __name__ == "__main__":
    random.seed(1)
    asyncio.run(main())
