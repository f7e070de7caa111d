"""Half of the workers fall silent in front of a real leader, with every tier backlogged."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from backend.clock import FakeClock
from backend.contracts import Order
from backend.contracts.arq_queue import open_queues
from backend.db.engine import Database
from backend.db.listen import OutboxBell
from backend.domain.attempt import LEASE
from backend.domain.events import Consumer
from backend.domain.tiers import TIERS
from backend.ending import end_tasks
from backend.services.dispatch_generation import Term
from backend.services.expire_leases import expire_leases
from backend.studio import Studio
from jobs.dispatch import Dispatcher
from tests.integration.life_rig import MessageWorker, empty, lead, make_creator, open_test_studio, submit
from tests.integration.test_control import orders_of, until

WORKERS = 8
ACCOUNTS = {"free": (20, 1), "plus": (12, 3), "pro": (7, 10)}
"""Of each tier: accounts, and jobs of each; more than its share of what starts until the tiers are compared."""

COMPARED = 63
"""Starts after the loss: free has 9 of them by weight, plus 18, pro 36."""


@pytest.fixture
async def studio(db: Database, valkey_url: str, tmp_path: Path) -> AsyncIterator[Studio]:
    await empty(db)
    made = open_test_studio(db, valkey_url, tmp_path)
    yield replace(made, clock=FakeClock(datetime.now(UTC)))
    await made.wakeups.close()


class Leader:
    """A real dispatcher, and workers that are only messages. The leader's time is turned by hand."""

    def __init__(self, studio: Studio, dispatcher: Dispatcher) -> None:
        self.studio = studio
        self.dispatcher = dispatcher
        self.workers = [MessageWorker(studio, worker_id=f"w{number}") for number in range(WORKERS)]

    def passes(self, seconds: float) -> None:
        """The leader's clock goes on."""
        assert isinstance(self.studio.clock, FakeClock)
        self.studio.clock.advance(timedelta(seconds=seconds))

    async def hears(self, workers: Sequence[MessageWorker]) -> None:
        """They say that they live."""
        for worker in workers:
            await worker.beat()
            await self.dispatcher.saw(worker.heartbeat())

    def p50_s(self, job_id: str) -> float:
        """When this job is expected to be done."""
        found = self.dispatcher.places([job_id])[job_id]["p50_s"]
        assert isinstance(found, float)
        return found

    async def finish_what_they_have(self, workers: Sequence[MessageWorker], done: set[str]) -> None:
        """Each delivers every order that lies with it."""
        url = self.studio.settings.require_redis_url()
        for worker in workers:
            orders = [o for o in await orders_of(url, worker.worker_id) if o.attempt_id not in done]
            for order in sorted(orders, key=lambda o: o.attempt_id):
                done.add(order.attempt_id)
                await self._deliver(worker, order)

    async def _deliver(self, worker: MessageWorker, order: Order) -> None:
        await worker.step(order, 1)
        await worker.finish(order)


@asynccontextmanager
async def leading(studio: Studio) -> AsyncIterator[Leader]:
    queues = open_queues(studio.settings.require_redis_url())
    async with OutboxBell(studio.db.url, frozenset({Consumer.DISPATCH})) as bell:
        dispatcher = Dispatcher(studio, await lead_for_long(studio), queues, bell)
        running = asyncio.create_task(dispatcher.run())
        try:
            yield Leader(studio, dispatcher)
        finally:
            assert await end_tasks(running, within_s=10)
            await queues.aclose()


async def lead_for_long(studio: Studio) -> Term:
    """A term that outlasts the test."""
    term = await lead(studio)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE leader_terms SET expires_at = now() + interval '1 hour'"))
    return term


async def submit_backlog(studio: Studio) -> list[str]:
    """Job ids, in the order in which they were accepted."""
    accepted = []
    for tier, (accounts, jobs) in ACCOUNTS.items():
        for _ in range(accounts):
            creator = await make_creator(studio, tier=tier, credits=10_000)
            accepted += [(await submit(studio, creator, seed=seed)).id for seed in range(jobs)]
    return accepted


async def started_since(studio: Studio, moment: datetime) -> list[str]:
    """The tiers of all that was given to workers since, in that order."""
    async with studio.db.reading() as session:
        rows = await session.execute(
            text(
                "SELECT j.tier FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE a.ordered_at > :moment"
                " ORDER BY a.ordered_at"
            ),
            {"moment": moment},
        )
        return list(rows.scalars())


async def count(studio: Studio, query: str) -> int:
    async with studio.db.reading() as session:
        return int((await session.execute(text(query))).scalar_one())


async def test_half_of_the_workers_vanish_and_shares_hold_etas_follow_and_nothing_is_dropped(
    studio: Studio,
) -> None:
    accepted = await submit_backlog(studio)
    last = accepted[-1]
    async with leading(studio) as leader:
        await leader.hears(leader.workers)

        async def all_are_busy() -> bool:
            live = "SELECT count(DISTINCT worker_id) FROM attempts WHERE state IN ('ordered', 'running')"
            return await count(studio, live) == WORKERS

        await until("every worker to have a job", all_are_busy)
        promised_s = leader.p50_s(last)

        lost, left = leader.workers[::2], leader.workers[1::2]
        leader.passes(LEASE.total_seconds() - 1)
        await leader.hears(left)
        assert leader.p50_s(last) == pytest.approx(promised_s, rel=0.1)
        leader.passes(2)
        # Silent for longer than a lease now: the expected end follows at once, half as fast.
        assert 1.5 * promised_s < leader.p50_s(last) < 2.5 * promised_s

        async with studio.db.transaction() as session:
            moment = (
                (
                    await session.execute(
                        text(
                            "UPDATE attempts SET lease_expires_at = clock_timestamp() - interval '1 second'"
                            " WHERE worker_id = ANY(:lost) AND state IN ('ordered', 'running')"
                            " RETURNING clock_timestamp()"
                        ),
                        {"lost": [worker.worker_id for worker in lost]},
                    )
                )
                .scalars()
                .all()[-1]
            )
        assert await expire_leases(studio) >= len(lost)

        done: set[str] = set()

        async def all_is_rendered() -> bool:
            await leader.hears(left)
            await leader.finish_what_they_have(left, done)
            return await count(studio, "SELECT count(*) FROM jobs WHERE rendered_at IS NOT NULL") == len(
                accepted
            )

        await until("every accepted job to be rendered", all_is_rendered, timeout_s=300)

    tiers = (await started_since(studio, moment))[:COMPARED]
    weights = {tier: TIERS[tier].weight for tier in ACCOUNTS}
    for tier, weight in weights.items():
        share = tiers.count(tier) / COMPARED
        assert share == pytest.approx(weight / sum(weights.values()), abs=0.03), (tier, tiers)
    assert await count(studio, "SELECT count(*) FROM jobs WHERE state <> 'moderating'") == 0
    assert await count(studio, "SELECT count(*) FROM attempts WHERE state = 'done'") == len(accepted)
