"""The leader answers what web processes ask about the queue, which it alone holds in memory."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.log import get_logger
from backend.wakeups import ASK_KEY
from jobs.dispatch import Dispatcher

log = get_logger(__name__)

REPLY_TTL_S = 5
MAX_JOBS_A_QUESTION = 500


async def answer_questions(redis: Redis, dispatcher: Dispatcher) -> None:
    """Answer for ever."""
    while True:
        try:
            popped = await cast("Awaitable[list[str] | None]", redis.blpop([ASK_KEY], timeout=1))
            if popped is None:
                continue
            question: dict[str, Any] = json.loads(popped[1])
            reply = json.dumps(_answer(dispatcher, question))
            key = str(question["reply"])
            if key.startswith("zoetrope:control:reply:"):
                await cast("Awaitable[int]", redis.rpush(key, reply))
                await redis.expire(key, REPLY_TTL_S)
        except (RedisError, OSError) as error:
            log.warning("answer.waits", error=type(error).__name__)
            await asyncio.sleep(0.5)
        except (ValueError, KeyError, TypeError):
            log.warning("answer.unreadable_question")


def _answer(dispatcher: Dispatcher, question: dict[str, Any]) -> dict[str, object]:
    match question.get("ask"):
        case "places":
            job_ids = [str(job_id) for job_id in question["job_ids"]][:MAX_JOBS_A_QUESTION]
            return {"places": dispatcher.places(job_ids)}
        case "wait":
            wait = dispatcher.wait_for(
                str(question["tier"]),
                str(question["account_id"]),
                str(question["recipe"]),
                float(question["gpu_s"]),
                int(question["steps"]),
            )
            return {"p50_s": wait[0] if wait else None, "p90_s": wait[1] if wait else None}
        case other:
            return {"error": f"unknown question {other!r}"}
