"""A leader whose dispatcher is the test's own hand, with real workers: all of their messages, leases and objects."""

import asyncio
import io
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import av
import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import text
from sqlmodel import col, select

from backend.auth.principal import Principal
from backend.clock import SystemClock
from backend.contracts import AttemptPhase, AttemptStatus, Heartbeat, Order
from backend.contracts.arq_queue import open_queues
from backend.db.engine import Database
from backend.db.models import Artifact, Attempt, Job
from backend.domain.attempt import Slot
from backend.ending import end_tasks
from backend.recipes import CATALOGUE
from backend.services import build_order
from backend.services.dispatch_generation import Term, dispatch_batch, dispatch_generation
from backend.services.get_generation import get_generation
from backend.services.preempt_generation import Preemption, preempt_generation
from backend.settings import Settings
from backend.storage import open_storage
from backend.studio import Studio
from backend.wakeups import Wakeups, connect
from jobs.collect import Collector, send_wishes
from jobs.hearing import Hearing
from jobs.queues import send_order
from jobs.reap import reap
from tests.integration.life_rig import empty, lead
from tests.integration.served_api import serve_api
from tests.integration.worker_rig import start_worker_process

T = TypeVar("T")
Frames = npt.NDArray[np.uint8]


@dataclass
class HandLeader:
    """Hears workers and reaps as a leader does; gives and preempts only what the test says."""

    studio: Studio
    term: Term
    valkey_url: str
    api_url: str
    heard: dict[str, Heartbeat] = field(default_factory=dict)
    progress: dict[str, int] = field(default_factory=dict)
    watched: dict[str, Principal] = field(default_factory=dict)

    async def saw(self, heartbeat: Heartbeat) -> None:
        """What the collector tells a dispatcher. Each time, the owner's progress must not have fallen."""
        self.heard[heartbeat.worker_id] = heartbeat
        for job_id, owner in self.watched.items():
            shown = (await get_generation(self.studio, owner, job_id, with_place=False)).progress
            assert shown >= self.progress.get(job_id, 0), f"progress of {job_id} fell to {shown}"
            self.progress[job_id] = shown

    async def give(self, job_id: str, worker_id: str, slot: Slot = Slot.RUN) -> Order:
        """Dispatch a job to this worker."""
        order = await dispatch_generation(
            self.studio, self.term, job_id=job_id, worker_id=worker_id, slot=slot
        )
        assert order is not None, f"{job_id} could not be given to {worker_id}"
        await self._send(order)
        return order

    async def give_batch(self, job_ids: Sequence[str], worker_id: str) -> list[Order]:
        """Dispatch jobs to this worker, to be run in one pass."""
        orders = await dispatch_batch(
            self.studio, self.term, job_ids=job_ids, worker_id=worker_id, slot=Slot.RUN
        )
        assert len(orders) == len(job_ids)
        await self._send(*orders)
        return orders

    async def _send(self, *orders: Order) -> None:
        queues = open_queues(self.valkey_url)
        try:
            for order in orders:
                await send_order(queues, order)
        finally:
            await queues.aclose()

    async def preempt(self, order: Order) -> Preemption:
        """Wish it, and say so at once."""
        asked = await preempt_generation(self.studio, self.term, attempt_id=order.attempt_id)
        assert asked is not None
        await send_wishes(self.studio.wakeups.redis, asked.wishes)
        return asked

    def status(self, order: Order) -> AttemptStatus | None:
        """What its worker said of it last."""
        newest = self.heard.get(order.worker_id)
        return (
            next((s for s in newest.attempts if s.attempt_id == order.attempt_id), None) if newest else None
        )

    def at_step(self, order: Order, step: int) -> bool:
        """Whether its worker has said that it denoises and has done this many steps."""
        status = self.status(order)
        return status is not None and status.phase is AttemptPhase.DENOISING and status.step >= step

    async def until(self, what: str, check: Callable[[], Awaitable[T] | T], timeout_s: float = 60) -> T:
        """What `check` gives once it is true."""
        end = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < end:
            found = check()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"waited {timeout_s} s in vain for {what}; heard {self.heard}")

    async def until_registered(self, worker_id: str, *, after_boot: str = "") -> None:
        """The worker said hello and has its model, so that timings are of steps alone."""

        def ready() -> bool:
            beat = self.heard.get(worker_id)
            return beat is not None and beat.boot_id != after_boot and bool(beat.resident)

        await self.until(f"{worker_id} to be ready", ready)

    async def job(self, job_id: str) -> Job:
        """Its row."""
        async with self.studio.db.reading() as session:
            job = await session.get(Job, job_id)
        assert job is not None
        return job

    async def until_state(self, job_id: str, state: str, timeout_s: float = 60) -> Job:
        """Its row, once it is in this state."""

        async def there() -> Job | None:
            job = await self.job(job_id)
            return job if job.state == state else None

        found = await self.until(f"{job_id} to be {state}", there, timeout_s)
        assert found is not None
        return found

    async def attempt(self, order: Order) -> Attempt:
        """The row of an order's attempt."""
        async with self.studio.db.reading() as session:
            attempt = await session.get(Attempt, order.attempt_id)
        assert attempt is not None
        return attempt

    async def frames(self, job_id: str) -> Frames:
        """The decoded frames of its clip, before it is signed."""
        async with self.studio.db.reading() as session:
            key = (
                await session.exec(
                    select(col(Artifact.key)).where(Artifact.job_id == job_id, Artifact.kind == "video")
                )
            ).one()
        clip = await self.studio.storage.get_bytes(key, limit_bytes=2**28)
        with av.open(io.BytesIO(clip)) as container:
            return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])

    async def objects(self, prefix: str) -> dict[str, bytes]:
        """All that lies below a prefix."""
        found = [info.key async for info in self.studio.storage.list_objects(prefix)]
        return {key: await self.studio.storage.get_bytes(key, limit_bytes=2**28) for key in found}

    @contextmanager
    def worker(
        self,
        worker_id: str,
        *,
        engine: str = "fake",
        program: Sequence[str] = ("-m", "gpu_worker.main"),
        **environment: str,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A real worker process."""
        server = SimpleNamespace(url=self.api_url)
        process = start_worker_process(
            self.valkey_url, server, worker_id, engine=engine, program=program, **environment
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def hand_leader(
    db: Database, valkey_url: str, folder: Path, environment: Callable[..., dict[str, str]]
) -> AsyncIterator[HandLeader]:
    """A studio with its routes for objects in a process of their own, and a leader that hears."""
    await empty(db)
    with serve_api(environment, folder, database_url=db.url, redis_url=valkey_url) as api_url:
        settings = Settings(
            data_dir=folder / "data", database_url=db.url, redis_url=valkey_url, control_url=api_url
        )
        studio = Studio(
            settings=settings,
            db=db,
            storage=open_storage(settings),
            wakeups=Wakeups(connect(valkey_url), ask_timeout_s=0.01),
            clock=SystemClock(),
        )
        leader = HandLeader(
            studio=studio, term=await _long_term(studio), valkey_url=valkey_url, api_url=api_url
        )
        redis, hearing = connect(valkey_url), Hearing(studio.clock)
        tasks = [
            asyncio.create_task(Collector(studio, redis, hearing, leader.saw).run()),
            asyncio.create_task(reap(studio, hearing)),
        ]
        try:
            yield leader
        finally:
            for task in tasks:
                if task.done():
                    task.result()
            assert await end_tasks(*tasks, within_s=15)
            await redis.aclose()
            await studio.wakeups.close()


async def _long_term(studio: Studio) -> Term:
    """A term that nobody renews and that outlasts the test."""
    term = await lead(studio)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE leader_terms SET expires_at = now() + interval '1 hour'"))
    return term


def keep_checkpoints_every(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Orders of this process ask for checkpoints this often."""
    quick: Mapping[str, object] = {
        name: replace(recipe, checkpoint_every_s=seconds) for name, recipe in CATALOGUE.items()
    }
    monkeypatch.setattr(build_order, "CATALOGUE", quick)
