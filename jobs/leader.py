"""Who leads: claims the term, runs the leader's work while it lasts, stops it the moment it ends."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

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
STOP_S = 5.0


async def lead(studio: Studio, work: Callable[[Term], Awaitable[None]]) -> None:
    """Stand by, lead, stand by again, for ever. `work` is cancelled when the term can't be renewed in time."""
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    working: asyncio.Task[None] | None = None
    held: int | None = None
    renewed_at = 0.0
    try:
        while True:
            try:
                async with asyncio.timeout(leadership.TERM_LEASE.total_seconds() / 2):
                    async with studio.db.transaction() as session:
                        number = await leadership.claim(session, name=NAME, holder=holder)
                renewed_at = time.monotonic()
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                log.warning("leader.term_unknown", error=type(error).__name__)
                expired = time.monotonic() - renewed_at > leadership.TERM_LEASE.total_seconds()
                number = None if expired else held
            if working is not None and (working.done() or number != held):
                await end_tasks(working, within_s=STOP_S)
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
            await end_tasks(working, within_s=STOP_S)
        async with studio.db.transaction() as session:
            await leadership.resign(session, name=NAME, holder=holder)


async def _run(work: Callable[[Term], Awaitable[None]], term: Term) -> None:
    try:
        await work(term)
    except NotLeading:
        log.info("leader.replaced", term=term.number)
    except Exception:
        log.exception("leader.work_failed", term=term.number)
