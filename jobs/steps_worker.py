"""An arq worker over one steps queue, started again when Valkey comes back."""

import asyncio
import contextlib
import logging
import random

from arq.worker import Function, Worker

from backend.log import get_logger
from jobs.queues import from_json, open_queues, to_json

log = get_logger(__name__)

POLL_DELAY_S = 0.05
NEVER_S = 24 * 3600


async def serve_steps(redis_url: str, queue: str, function: Function, *, at_once: int) -> None:
    """Serve for ever; `at_once` bounds the steps under way in this process."""
    logging.getLogger("arq").setLevel(logging.WARNING)
    delay_s = 0.2
    while True:
        started = asyncio.get_running_loop().time()
        redis = open_queues(redis_url)
        worker = Worker(
            functions=[function],
            queue_name=queue,
            redis_pool=redis,
            handle_signals=False,
            max_jobs=at_once,
            max_tries=1,
            keep_result=0,
            poll_delay=POLL_DELAY_S,
            health_check_interval=NEVER_S,
            job_serializer=to_json,
            job_deserializer=from_json,
            log_results=False,
        )
        try:
            await worker.async_run()
        except Exception as error:  # noqa: BLE001  # arq lets through whatever its connection raises
            log.warning("steps.cut_off", queue=queue, error=type(error).__name__)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2.0):
                    await redis.aclose()
        if asyncio.get_running_loop().time() - started > 5:
            delay_s = 0.2
        await asyncio.sleep(delay_s * random.uniform(0.7, 1.3))
        delay_s = min(2 * delay_s, 3.0)
