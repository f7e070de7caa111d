"""Who leads: claims the term, runs the leader's work while it lasts, stops it the moment it ends."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from backend import metrics
from backend.db.repositories import leadership
from backend.ending import end_tasks
from backend.log import get_logger
from backend.services.dispatch_generation import NotLeading, Term
from backend.studio import Studio

log = get_logger(__name__)

NAME = "dispatch"
RENEW_S = 1.0
PARTS_STOP_S = 4.0
STOP_S = 5.0
"""Longer than the parts get, and shorter than the process gets."""


class LeaderStuck(Exception):
    """Some of the leader's work outlived its end. The process must go, or it would go on beside the next leader."""


async def lead(studio: Studio, work: Callable[[Term], Awaitable[None]]) -> None:
    """Stand by, lead, stand by again, for ever. `work` is cancelled when the term can't be renewed in time.

    Raises `LeaderStuck` when it doesn't end; the term is not given up then, it runs out.
    """
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    working: asyncio.Task[None] | None = None
    held: int | None = None
    renewed_at = 0.0
    try:
        while True:
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout(leadership.TERM_LEASE.total_seconds() / 2):
                    async with studio.db.single() as session:
                        number = await leadership.claim(session, name=NAME, holder=holder)
                renewed_at = asked_at
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                log.warning("leader.term_unknown", error=type(error).__name__)
                expired = time.monotonic() - renewed_at > leadership.TERM_LEASE.total_seconds()
                number = None if expired else held
            if working is not None and (working.done() or number != held):
                await _stop(working)
                working = None
            held = number
            metrics.leader.set(0 if number is None else 1)
            if number is not None and working is None:
                log.info("leader.leads", term=number)
                term = Term(name=NAME, holder=holder, number=number)
                working = asyncio.create_task(_run(work, term))
            await asyncio.sleep(RENEW_S)
    finally:
        metrics.leader.set(0)
        if working is not None:
            await _stop(working)
        async with studio.db.transaction() as session:
            await leadership.resign(session, name=NAME, holder=holder)


async def run_together(parts: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Run all until one ends, then end all; raises what that one raised.

    Raises `LeaderStuck`, with their names, when some still live after `PARTS_STOP_S`.
    """
    # Not a TaskGroup: that cancels each child once and then waits for ever (see `end_tasks`).
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    errors: list[BaseException] = []
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        try:
            await end_tasks(*tasks, within_s=PARTS_STOP_S)
        finally:
            # All are heard, also when this is cancelled: asyncio logs an error that nobody asked for.
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    errors.append(error)
            if living := [task.get_name() for task in tasks if not task.done()]:
                raise LeaderStuck(", ".join(living))
    if errors:
        raise errors[0]


async def _stop(working: "asyncio.Task[None]") -> None:
    """End the leader's work. Raises `LeaderStuck`."""
    try:
        await end_tasks(working, within_s=STOP_S)
    finally:
        if not working.done():
            raise LeaderStuck("the leader's work")
        if not working.cancelled() and (error := working.exception()) is not None:
            raise error


async def _run(work: Callable[[Term], Awaitable[None]], term: Term) -> None:
    try:
        await work(term)
    except NotLeading:
        log.info("leader.replaced", term=term.number)
    except LeaderStuck:
        raise
    except Exception:
        log.exception("leader.work_failed", term=term.number)
