"""A worker that an operator drains: it hears so, takes nothing new, and finishes what it has."""

import httpx
import pytest
from sqlmodel import select

from backend.api.app import create_app
from backend.contracts import Wish
from backend.db.models import AuditEntry, Worker
from backend.domain.attempt import Slot
from backend.domain.errors import NotFound
from backend.domain.generation import JobState
from backend.services.accept_heartbeat import accept_heartbeat
from backend.services.dispatch_generation import dispatch_generation
from backend.services.drain_worker import drain_worker, resume_worker
from backend.services.get_generation import get_generation
from backend.studio import Studio
from backend.web_process import WebProcess
from tests.integration.life_rig import (
    MessageWorker,
    lead,
    make_creator,
    submit,
)


async def state_of(studio: Studio) -> str:
    async with studio.db.reading() as session:
        return (await session.get_one(Worker, "w1")).state


async def readiness(studio: Studio) -> str:
    transport = httpx.ASGITransport(create_app(WebProcess(lambda: studio)))
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as http:
        return str((await http.get("/readyz")).json()["checks"]["worker"])


async def test_it_finishes_what_it_has_and_takes_nothing_new_until_it_is_resumed(studio: Studio) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    order = await worker.take((await submit(studio, creator)).id)
    await worker.step(order, 1)
    await drain_worker(studio, "w1")
    wishes = await worker.step(order, 2)
    assert (wishes.drain, wishes.attempts) == (True, {order.attempt_id: Wish.GO})
    drains = worker.heartbeat(worker.status(order, 3)).model_copy(update={"draining": True})
    await accept_heartbeat(studio, drains)
    assert await state_of(studio) == "draining"
    assert await readiness(studio) == "no live worker"
    await worker.finish(order)
    assert (await get_generation(studio, creator, order.job_id)).state is JobState.MODERATING
    waiting = (await submit(studio, creator)).id
    term = await lead(studio)
    assert await dispatch_generation(studio, term, job_id=waiting, worker_id="w1", slot=Slot.RUN) is None
    await resume_worker(studio, "w1")
    assert not (await worker.beat()).drain
    assert (await state_of(studio), await readiness(studio)) == ("live", "ok")
    assert await worker.take(waiting)
    async with studio.db.reading() as session:
        entries = await session.exec(select(AuditEntry.action, AuditEntry.subject).order_by(AuditEntry.id))  # type: ignore[arg-type]  # a column
        assert list(entries) == [("worker.drained", "w1"), ("worker.resumed", "w1")]


async def test_a_worker_that_nobody_knows_is_not_drained(studio: Studio) -> None:
    with pytest.raises(NotFound, match="no worker"):
        await drain_worker(studio, "nobody")
