"""Outbox, relay and steps: nothing is lost, nothing is taken twice at once, and a bell is only a bell."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from arq.worker import Retry, func
from sqlalchemy import text

from backend.contracts.arq_queue import enqueue, open_queues, serve_queue
from backend.db import outbox
from backend.domain.events import Consumer, OutboxEvent
from backend.ending import end_tasks
from backend.studio import Studio
from jobs.queues import CONTROL_QUEUE
from jobs.relay_outbox import relay_outbox
from jobs.take_step import BegunStep, run_step, step_function

QUEUE = "zoetrope:test:steps"


async def until(what: str, check: Callable[[], Awaitable[bool]], timeout_s: float = 30) -> None:
    end = asyncio.get_running_loop().time() + timeout_s
    while not await check():
        assert asyncio.get_running_loop().time() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.02)


async def taken(studio: Studio, tries: int = 1) -> dict[str, Any]:
    """A row that was taken `tries` times, as its step gets it."""
    async with studio.db.transaction() as session:
        await outbox.put(session, [OutboxEvent(consumer=Consumer.SWEEP, subject="x")])
        await session.execute(text("UPDATE outbox SET tries = :n"), {"n": tries - 1})
    async with studio.db.transaction() as session:
        (event,) = await outbox.take(session, Consumer.SWEEP, limit=1, hidden=timedelta(minutes=1))
    return {
        "id": event.id,
        "consumer": "sweep",
        "subject": "x",
        "payload": {},
        "trace_id": "",
        "tries": event.tries,
    }


async def due_in_s(studio: Studio) -> float:
    async with studio.db.reading() as session:
        found = await session.execute(text("SELECT extract(epoch FROM available_at - now()) FROM outbox"))
        return float(found.scalar_one())


async def test_a_step_that_failed_comes_back_when_it_was_told_to_and_no_sooner(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The keeper writes all the time, so that one of its writes is under way when the step fails.
    monkeypatch.setattr("jobs.take_step.HIDDEN", timedelta(0))

    async def fails(_studio: Studio, _step: BegunStep) -> None:
        await asyncio.sleep(0.05)
        raise RuntimeError("storage is away")

    for _ in range(5):
        event = await taken(studio, tries=7)
        await run_step(studio, {Consumer.SWEEP: fails}, event)
        assert await due_in_s(studio) > 100
        async with studio.db.transaction() as session:
            await session.execute(text("DELETE FROM outbox"))


async def test_a_row_that_someone_else_has_taken_is_hidden_by_them_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.take_step.HIDDEN", timedelta(0))

    left_hidden_s: list[float] = []

    async def is_overtaken(_studio: Studio, _step: BegunStep) -> None:
        async with studio.db.transaction() as session:
            await session.execute(
                text("UPDATE outbox SET tries = tries + 1, available_at = now() + interval '1 hour'")
            )
        await asyncio.sleep(0.1)
        left_hidden_s.append(await due_in_s(studio))

    await run_step(studio, {Consumer.SWEEP: is_overtaken}, await taken(studio))
    assert left_hidden_s[0] > 3500


async def test_a_step_that_takes_long_stays_hidden_from_others(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.take_step.HIDDEN", timedelta(seconds=0.3))

    async def lasts(_studio: Studio, _step: BegunStep) -> None:
        async with studio.db.transaction() as session:
            await session.execute(text("UPDATE outbox SET available_at = now()"))

        async def hidden() -> bool:
            return await due_in_s(studio) > 0.1

        await until("the keeper", hidden)
        kept.append(True)

    kept: list[bool] = []
    await run_step(studio, {Consumer.SWEEP: lasts}, await taken(studio))
    assert kept


async def test_a_row_whose_bell_nobody_heard_is_relayed_all_the_same(
    studio: Studio, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.relay_outbox.POLL_S", 0.1)
    queues = open_queues(valkey_url)
    relaying = asyncio.create_task(relay_outbox(studio, valkey_url))

    async def relayed(subject: str) -> bool:
        async with studio.db.reading() as session:
            found = await session.execute(text("SELECT tries FROM outbox WHERE subject = :s"), {"s": subject})
            return bool(found.scalar_one())

    async def lay(subject: str) -> None:
        async with studio.db.transaction() as session:
            await session.execute(
                text("INSERT INTO outbox (consumer, subject, payload) VALUES ('sweep', :s, '{}')"),
                {"s": subject},
            )

    try:
        for subject in ("first", "second"):  # the first may be seen at the start; the second only by polling
            await lay(subject)
            await until(f"the relay of {subject}", lambda subject=subject: relayed(subject))
        assert await queues.zcard(CONTROL_QUEUE) == 2
    finally:
        assert await end_tasks(relaying, within_s=10)
        await queues.aclose()


async def test_a_message_is_tried_once_and_its_name_is_free_again_at_once(valkey_url: str) -> None:
    """Retries are the outbox's; and an order that was carried out can be sent again under the same name."""
    runs: list[str] = []

    async def step(_context: dict[str, Any], message: str) -> None:
        runs.append(message)
        raise Retry(defer=0)

    queues = open_queues(valkey_url)
    serving = asyncio.create_task(
        serve_queue(valkey_url, QUEUE, func(step, name="step"), at_once=1)  # type: ignore[arg-type]  # arq's protocol names its parameters
    )

    async def idle() -> bool:
        return len(runs) > 0 and await queues.zcard(QUEUE) == 0

    try:
        await enqueue(queues, QUEUE, "step", "first", job_id="name")
        await until("the first run", idle)
        assert await queues.keys("arq:result:*") == []
        await enqueue(queues, QUEUE, "step", "second", job_id="name")

        async def both() -> bool:
            return "second" in runs and await queues.zcard(QUEUE) == 0

        await until("the second run", both)
        assert runs == ["first", "second"]
    finally:
        assert await end_tasks(serving, within_s=10)
        await queues.aclose()


async def test_a_step_leaves_its_tries_and_results_to_its_queue(studio: Studio) -> None:
    function = step_function(studio, {})
    assert (function.max_tries, function.keep_result_s) == (None, None)


async def test_a_step_that_ends_its_takers_is_counted_and_one_that_fails_is_not(studio: Studio) -> None:
    begun: list[int] = []
    event = await taken(studio)

    async def ends_its_taker(_studio: Studio, step: BegunStep) -> None:
        begun.append(step.begun)
        raise asyncio.CancelledError

    async def fails(_studio: Studio, step: BegunStep) -> None:
        begun.append(step.begun)
        raise RuntimeError("storage is away")

    async def works(_studio: Studio, step: BegunStep) -> None:
        begun.append(step.begun)

    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            await run_step(studio, {Consumer.SWEEP: ends_its_taker}, event)
    await run_step(studio, {Consumer.SWEEP: fails}, event)
    await run_step(studio, {Consumer.SWEEP: works}, event)
    await run_step(studio, {Consumer.SWEEP: works}, event)
    assert begun == [1, 2, 3, 1], "and what is done is not begun again"
