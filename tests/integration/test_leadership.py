"""A leader's term on the real database: what a stopped, cut-off or second leader can't do, nor hold up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.repositories import leadership
from backend.domain.attempt import Slot
from backend.domain.generation import JobState
from backend.ending import end_tasks
from backend.services.dispatch_generation import NotLeading, Term, dispatch_generation
from backend.services.get_generation import get_generation
from backend.studio import Studio
from jobs.leader import NAME, LeaderStuck, lead
from jobs.process import _until_signalled
from tests.integration.life_rig import lead as hold_term
from tests.integration.life_rig import make_creator, submit


async def claim(studio: Studio, holder: str) -> int | None:
    async with studio.db.transaction() as session:
        return await leadership.claim(session, name=NAME, holder=holder)


async def let_term_end(studio: Studio, in_s: float = 0.0) -> None:
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE leader_terms SET expires_at = clock_timestamp() + make_interval(secs => :s)"),
            {"s": in_s},
        )


async def test_a_term_that_ended_is_not_held_even_before_anyone_took_over(studio: Studio) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    term = await hold_term(studio, "sleeper")
    await let_term_end(studio)
    with pytest.raises(NotLeading):
        await dispatch_generation(studio, term, job_id=job.id, worker_id="w1", slot=Slot.RUN)
    assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED


async def test_nobody_takes_over_in_the_middle_of_a_dispatch(studio: Studio) -> None:
    term = await hold_term(studio, "old")
    await let_term_end(studio, in_s=0.5)
    async with studio.db.transaction() as session:
        assert await leadership.holds_term(session, name=NAME, holder="old", term=term.number)
        taking_over = asyncio.create_task(takeover(studio, "new"))
        # The term is over by the database's clock, and only this transaction is in the way.
        await session.execute(text("SELECT pg_sleep(0.6)"))
        assert await leadership_holder(session) == "old"
        assert not taking_over.done()
    async with asyncio.timeout(10):
        assert await taking_over == term.number + 1


async def takeover(studio: Studio, holder: str) -> int:
    """Claim until it works."""
    while (number := await claim(studio, holder)) is None:
        await asyncio.sleep(0.05)
    return number


async def leadership_holder(session: AsyncSession) -> str:
    return str((await session.execute(text("SELECT holder FROM leader_terms"))).scalar_one())


async def test_a_leader_that_is_stopped_inside_a_dispatch_holds_its_standby_off_for_no_more_than_five_seconds(
    studio: Studio,
) -> None:
    term = await hold_term(studio, "stopped")
    clock = asyncio.get_running_loop()
    began = clock.time()
    took_over_at: list[float] = []

    async def stopped_in_the_middle() -> None:
        async with studio.db.transaction() as session:
            assert await leadership.holds_term(session, name=NAME, holder="stopped", term=term.number)
            async with asyncio.timeout(30):
                assert await takeover(studio, "standby") == term.number + 1
            took_over_at.append(clock.time())
            await session.execute(text("SELECT 1"))

    with pytest.raises(DBAPIError):
        await stopped_in_the_middle()
    assert leadership.HOLD_MS / 1000 < leadership.TERM_LEASE.total_seconds() + 1 <= 5
    assert took_over_at[0] - began < 12  # a busy machine's 5


@asynccontextmanager
async def leading(studio: Studio, ended: asyncio.Event) -> AsyncIterator[tuple[asyncio.Task[None], Term]]:
    """A leader whose work says when it was stopped."""
    begun: asyncio.Future[Term] = asyncio.get_running_loop().create_future()

    async def work(term: Term) -> None:
        begun.set_result(term)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(lead(studio, work))
    try:
        async with asyncio.timeout(15):
            term = await begun
        yield task, term
    finally:
        await end_tasks(task, within_s=15)


async def test_a_leader_that_cannot_renew_stops_its_work_within_its_lease(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def away(_session: AsyncSession, **_term: object) -> None:
        raise OperationalError("", None, ConnectionError("the database is away"))

    async with leading(studio, ended):
        monkeypatch.setattr(leadership, "claim", away)
        async with asyncio.timeout(20):
            await ended.wait()
        assert await term_is_over(studio)


async def term_is_over(studio: Studio) -> bool:
    """The database itself is there: the term is free by now."""
    async with studio.db.reading() as session:
        over = await session.execute(text("SELECT expires_at <= clock_timestamp() FROM leader_terms"))
        return bool(over.scalar_one())


async def test_a_leader_that_was_replaced_stops_its_work(studio: Studio) -> None:
    ended = asyncio.Event()
    async with leading(studio, ended) as (_task, term):
        async with studio.db.transaction() as session:
            await session.execute(
                text(
                    "UPDATE leader_terms SET holder = 'other', term = term + 1,"
                    " expires_at = clock_timestamp() + interval '1 minute'"
                )
            )
        async with asyncio.timeout(20):
            await ended.wait()
        assert await claim(studio, "third") is None
    assert term.number == 1


async def test_a_leader_whose_work_does_not_end_says_so_and_leads_no_more(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.leader.STOP_S", 0.2)
    monkeypatch.setattr("backend.ending.AGAIN_S", 0.05)
    over = asyncio.Event()
    begun = asyncio.Event()

    async def deaf(_term: Term) -> None:
        begun.set()
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(lead(studio, deaf))
    try:
        async with asyncio.timeout(15):
            await begun.wait()
        task.cancel()
        with pytest.raises(LeaderStuck):
            await task
    finally:
        over.set()


async def test_a_leader_whose_parts_live_on_leads_no_more(studio: Studio) -> None:
    async def stuck(_term: Term) -> None:
        raise LeaderStuck("reap")

    with pytest.raises(LeaderStuck, match="reap"):
        async with asyncio.timeout(15):
            await lead(studio, stuck)
    assert await claim(studio, "other") is None


async def test_a_process_with_work_that_outlives_it_leaves_at_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.ending.AGAIN_S", 0.02)
    monkeypatch.setattr("jobs.process.END_S", 0.1)
    monkeypatch.setattr("jobs.process.LAST_S", 0.1)
    left_with: list[int] = []
    monkeypatch.setattr("jobs.process.leave", left_with.append)
    over = asyncio.Event()

    async def deaf() -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    async def fails() -> None:
        zombies.append(asyncio.create_task(deaf()))
        await asyncio.sleep(0)
        raise LeaderStuck("deaf")

    zombies: list[asyncio.Task[None]] = []
    try:
        assert await _until_signalled("control", studio, lambda: [fails()]) == 1
    finally:
        over.set()
    assert left_with == [1]
    await asyncio.wait(zombies)
