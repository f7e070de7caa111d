"""The arq task of every outbox step: keep the row ours while we work, do it, mark it done or due again."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from arq.worker import Function, func
from sqlalchemy import text

from backend.db import outbox
from backend.domain.events import Consumer
from backend.ending import end_tasks
from backend.log import get_logger
from backend.studio import Studio
from jobs.queues import STEP_FUNCTION
from jobs.relay_outbox import HIDDEN

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class BegunStep:
    """An outbox row at work. `begun` above 1: those who began it before died in it, and it may have been the cause."""

    subject: str
    payload: Mapping[str, Any]
    begun: int


Step = Callable[[Studio, BegunStep], Awaitable[None]]
STEP_TIMEOUT_S = 1800.0
KEEPER_ENDS_S = 2.0
LONGEST_RETRY = timedelta(minutes=10)


def step_function(studio: Studio, steps: Mapping[Consumer, Step]) -> Function:
    """The arq function that takes events for these consumers."""

    async def take_step(_context: dict[str, Any], event: dict[str, Any]) -> None:
        await run_step(studio, steps, event)

    return func(take_step, name=STEP_FUNCTION, timeout=STEP_TIMEOUT_S)  # type: ignore[arg-type]  # arq's protocol names its parameters


async def run_step(studio: Studio, steps: Mapping[Consumer, Step], event: Mapping[str, Any]) -> None:
    """Run one event. An error makes the row due again, later each time; it never ends the worker."""
    structlog.contextvars.bind_contextvars(trace_id=event["trace_id"])
    keeper = asyncio.create_task(_keep_hidden(studio, event["id"], event["tries"]))
    try:
        try:
            async with studio.db.transaction() as session:
                begun = await outbox.begin(session, event["id"])
            if begun is None:
                return
            step = BegunStep(subject=event["subject"], payload=event["payload"], begun=begun)
            await steps[Consumer(event["consumer"])](studio, step)
        finally:
            # Gone before anything is said of the row's end, or it would say something else last.
            await end_tasks(keeper, within_s=KEEPER_ENDS_S)
        async with studio.db.transaction() as session:
            await outbox.mark_done(session, [event["id"]])
    except Exception as error:
        log.exception(
            "step.failed", consumer=event["consumer"], subject=event["subject"], tries=event["tries"]
        )
        retry_in = min(timedelta(seconds=2 ** min(event["tries"], 10)), LONGEST_RETRY)
        # With the database away the row comes back by itself when its hiding ends.
        with contextlib.suppress(Exception):
            async with studio.db.transaction() as session:
                await outbox.mark_failed(session, event["id"], repr(error), retry_in=retry_in)
    finally:
        structlog.contextvars.clear_contextvars()


async def _keep_hidden(studio: Studio, event_id: int, tries: int) -> None:
    """Keep the row ours while it is: whoever took it after our time of hiding has it now."""
    while True:
        await asyncio.sleep(HIDDEN.total_seconds() / 3)
        with contextlib.suppress(Exception):
            async with studio.db.transaction() as session:
                await session.execute(
                    text(
                        "UPDATE outbox SET available_at = now() + make_interval(secs => :s)"
                        " WHERE id = :id AND tries = :tries AND done_at IS NULL"
                    ),
                    {"s": HIDDEN.total_seconds(), "id": event_id, "tries": tries},
                )
