"""A new leader over many rows: its event loop stays free, and what happened meanwhile is in the queue in the end."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from backend.contracts.arq_queue import open_queues
from backend.db.listen import OutboxBell
from backend.ending import end_tasks
from backend.services import scheduling_state
from backend.services.dispatch_generation import Term
from backend.studio import Studio
from jobs import leader as leader_module
from jobs.dispatch import Dispatcher
from jobs.leader import lead as stand_by
from tests.integration.life_rig import MessageWorker, lead, make_creator, submit

MANY = 60_000
LONGEST_PIECE_S = 0.05


@asynccontextmanager
async def dispatcher(studio: Studio, term: Term | None = None) -> AsyncIterator[Dispatcher]:
    """A dispatcher that runs only what the test calls."""
    queues = open_queues(studio.settings.require_redis_url())
    try:
        bell = OutboxBell(studio.db.url, frozenset())
        yield Dispatcher(studio, term or await lead(studio), queues, bell)
    finally:
        await queues.aclose()


async def many_wait(studio: Studio, jobs: int) -> None:
    """Rows as submissions leave them, of 600 accounts, half of them past their ceilings."""
    await MessageWorker(studio).beat()
    async with studio.db.transaction() as session:
        await session.execute(text("INSERT INTO users (id, email) VALUES ('user_0', 'many@example.org')"))
        await session.execute(
            text(
                "INSERT INTO accounts (id, tier) SELECT 'acct_' || n, (ARRAY['free','plus','pro'])[1 + n % 3]"
                " FROM generate_series(0, 599) AS n"
            )
        )
        await session.execute(
            text(
                """
                INSERT INTO jobs (id, account_id, user_id, tier, recipe, recipe_revision, prompt, seconds,
                                  input_verdict, gpu_s, quoted, steps, created_at)
                SELECT 'video_' || lpad(n::text, 26, '0'), 'acct_' || n % 600, 'user_0',
                       (ARRAY['free','plus','pro'])[1 + n % 3], 'mini', '1', '', '4', 'allow', 5 + n % 80, 10, 30,
                       now() - n * interval '40 milliseconds'
                FROM generate_series(1, :jobs) AS n
                """
            ),
            {"jobs": jobs},
        )


class Pieces:
    """The most processor time that the event loop took between two turns of a task that only waits for its turn."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        began = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest_s = max(self.longest_s, now - began)
            began = now


async def watched(work: Callable[[], object]) -> float:
    """Seconds of the longest piece while `work` runs."""
    pieces = Pieces()
    watching = asyncio.create_task(pieces.watch())
    try:
        await work()  # type: ignore[misc]  # a coroutine function
    finally:
        await end_tasks(watching, within_s=2)
    return pieces.longest_s


@pytest.mark.unbalanced
async def test_a_leader_that_reads_very_many_jobs_never_stops_its_event_loop(studio: Studio) -> None:
    await many_wait(studio, MANY)
    async with dispatcher(studio) as leader:
        gc.collect()  # what the tests before left is not the leader's
        assert await watched(leader.restore) < LONGEST_PIECE_S
        last = leader.places([f"video_{1:026}"])[f"video_{1:026}"]
        assert last["of"] == MANY


@pytest.mark.unbalanced
async def test_a_leader_renews_its_term_while_it_reads(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Renewed far more often than the read takes, on any machine.
    monkeypatch.setattr(leader_module, "RENEW_S", 0.02)
    monkeypatch.setattr(scheduling_state, "PAGE", 10)
    await many_wait(studio, 10_000)
    found: asyncio.Future[tuple[float, float, Term]] = asyncio.get_running_loop().create_future()

    async def expires_at_s() -> float:
        async with studio.db.reading() as session:
            term = text("SELECT extract(epoch FROM expires_at)::float8 FROM leader_terms")
            return float((await session.execute(term)).scalar_one())

    async def work(term: Term) -> None:
        async with dispatcher(studio, term) as leader:
            before_s, began = await expires_at_s(), time.monotonic()
            await leader.restore()
            took_s, after_s = time.monotonic() - began, await expires_at_s()
        found.set_result((took_s, after_s - before_s, term))
        await asyncio.Event().wait()

    leading = asyncio.create_task(stand_by(studio, work))
    try:
        async with asyncio.timeout(60):
            took_s, moved_s, term = await found
    finally:
        assert await end_tasks(leading, within_s=15)
    assert term.number == 1
    assert moved_s > took_s / 2


@pytest.mark.unbalanced
async def test_what_is_sent_or_cancelled_while_a_leader_reads_is_as_it_is_in_the_end(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling_state, "PAGE", 1)
    await MessageWorker(studio).beat()
    creator = await make_creator(studio)
    first, gone = await submit(studio, creator), await submit(studio, creator)
    async with dispatcher(studio) as leader:
        reading = asyncio.create_task(leader.restore())
        later = await submit(studio, creator)
        async with studio.db.transaction() as session:
            await session.execute(text("UPDATE jobs SET state = 'cancelled' WHERE id = :id"), {"id": gone.id})
        await reading
        # Each of the three wrote an event, which the leader takes once it has read all.
        await leader.refresh([first.id, gone.id, later.id])
        assert [leader.waits(job.id) for job in (first, gone, later)] == [True, False, True]
        assert leader.places([later.id])[later.id]["position"] == 2


async def test_a_job_that_ran_while_leaders_changed_goes_back_before_what_its_account_has_waiting(
    studio: Studio,
) -> None:
    worker = MessageWorker(studio)
    await worker.beat()
    creator = await make_creator(studio)
    ran = await submit(studio, creator)
    order = await worker.take(ran.id)
    await worker.step(order, 1)
    others = [await submit(studio, creator) for _ in range(3)]
    async with dispatcher(studio) as leader:
        await leader.restore()
        assert leader.places([others[0].id])[others[0].id]["position"] == 1
        worker.boot_id = "boot2"
        await worker.beat()
        await leader.refresh([ran.id])
        places = leader.places([ran.id, *(job.id for job in others)])
    assert [places[job.id]["position"] for job in (ran, *others)] == [1, 2, 3, 4]
