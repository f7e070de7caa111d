"""A worker that an operator drains: it hears so, takes nothing new, and finishes what it has."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from sqlmodel import select

from backend.api.app import create_app
from backend.contracts import Wish
from backend.db.engine import Database
from backend.db.models import AuditEntry, Worker
from backend.domain.attempt import Slot
from backend.domain.errors import NotFound
from backend.domain.generation import JobState
from backend.services.accept_heartbeat import accept_heartbeat
from backend.services.dispatch_generation import dispatch_generation
from backend.services.drain_worker import drain_worker, resume_worker
from backend.services.get_generation import get_generation
from backend.services.worker_wishes import wishes_of
from backend.studio import Studio
from backend.web_process import WebProcess
from gpu_worker.fake_engine import FakeEngine, FakeSettings
from tests.integration.leader_rig import HandLeader, hand_leader
from tests.integration.life_rig import (
    MessageWorker,
    lead,
    make_creator,
    submit,
)
from tests.integration.worker_rig import worker_in_process


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


async def test_what_is_said_to_a_drained_worker_with_its_acknowledgement_says_so_too(studio: Studio) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    order = await worker.take((await submit(studio, creator)).id)
    await worker.step(order, 1)
    await drain_worker(studio, "w1")
    await worker.finish(order)
    async with studio.db.reading() as session:
        wishes = await wishes_of(session, "w1", also=[order.attempt_id])
    assert (wishes.drain, wishes.acknowledged) == (True, (order.attempt_id,))


# With a worker's own loop at the other end


@pytest.fixture
async def leader(
    db: Database, valkey_url: str, tmp_path: Path, studio_environment: Callable[..., dict[str, str]]
) -> AsyncIterator[HandLeader]:
    async with hand_leader(db, valkey_url, tmp_path, studio_environment) as made:
        yield made


@asynccontextmanager
async def running_worker(leader: HandLeader) -> AsyncIterator[None]:
    engine, served = FakeEngine(FakeSettings(step_s=0.05)), SimpleNamespace(url=leader.api_url)
    async with worker_in_process(leader.valkey_url, served, engine):  # type: ignore[arg-type]  # its address is all
        await leader.until("its first heartbeat", lambda: "w1" in leader.heard)
        yield


async def test_an_idle_worker_hears_that_it_is_drained_and_that_it_is_resumed(leader: HandLeader) -> None:
    async with running_worker(leader):
        assert not leader.heard["w1"].draining
        await drain_worker(leader.studio, "w1")
        await leader.until("it to obey", lambda: leader.heard["w1"].draining)
        assert await state_of(leader.studio) == "draining"
        await resume_worker(leader.studio, "w1")
        await leader.until("it to take jobs again", lambda: not leader.heard["w1"].draining)
        assert await state_of(leader.studio) == "live"


async def test_a_busy_worker_drains_and_finishes_what_it_has(leader: HandLeader) -> None:
    creator = await make_creator(leader.studio)
    job_id = (await submit(leader.studio, creator, num_inference_steps=40)).id
    async with running_worker(leader):
        order = await leader.give(job_id, "w1")
        await leader.until("some steps", lambda: leader.at_step(order, 2))
        await drain_worker(leader.studio, "w1")
        await leader.until("it to obey", lambda: leader.heard["w1"].draining)
        status = leader.status(order)
        assert status is not None
        assert status.step < 40
        await leader.until_state(job_id, "moderating")
        assert (await leader.attempt(order)).state == "done"
        heard = leader.heard["w1"].seq
        await leader.until("it to be idle", lambda: leader.heard["w1"].seq > heard + 2)
        assert (leader.heard["w1"].attempts, leader.heard["w1"].draining) == ((), True)
