"""A cancelled task ends, whatever rings at the same moment."""

import asyncio

import pytest

from backend.db.listen import OutboxBell
from backend.ending import end_tasks


@pytest.mark.parametrize("turns", range(6))
async def test_a_bell_that_rings_swallows_no_cancellation(turns: int) -> None:
    bell = OutboxBell("postgresql://nowhere/none", frozenset())
    waiting = asyncio.create_task(bell.wait(30))
    await asyncio.sleep(0)
    bell.ring()
    for _turn in range(turns):
        await asyncio.sleep(0)
    if waiting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        assert waiting.done()


async def test_a_task_that_swallows_one_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.ending.AGAIN_S", 0.05)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    assert await end_tasks(task, within_s=10)
    assert swallowed == 3


async def test_what_never_ends_is_said_to_live_on() -> None:
    over = asyncio.Event()

    async def deaf() -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    assert not await end_tasks(task, within_s=0.05)
    over.set()
    await task


async def test_whoever_ends_tasks_and_is_ended_too_ends_them_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.ending.AGAIN_S", 0.05)
    asked = 0
    stubborn_begun = asyncio.Event()

    async def stubborn() -> None:
        nonlocal asked
        stubborn_begun.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked += 1
                if asked == 4:
                    raise

    task = asyncio.create_task(stubborn())
    await stubborn_begun.wait()
    ending = asyncio.create_task(end_tasks(task, within_s=10))
    await asyncio.sleep(0)
    ending.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert task.done()
    finally:
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
