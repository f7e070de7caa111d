"""Whose image is decoded next, and who is sent away."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from backend.domain.errors import RateLimited, Unavailable
from backend.services.image_places import ALL, AN_ACCOUNT, AT_ONCE, LEAST_COST_S, ImagePlaces


class Sender:
    """Images of accounts, each at work until it is told to end."""

    def __init__(self, places: ImagePlaces) -> None:
        self._places = places
        self.at_work: list[str] = []
        self._may_end = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def send(self, account_id: str) -> None:
        """Returns when it is at work, waits, or was refused (then it raises)."""
        task = asyncio.create_task(self._run(account_id))
        for _ in range(5):
            await asyncio.sleep(0)
        if task.done():
            await task
        self.tasks.append(task)

    async def end(self) -> None:
        self._may_end.set()
        await asyncio.gather(*self.tasks)

    async def _run(self, account_id: str) -> None:
        async with self._places.place(account_id):
            self.at_work.append(account_id)
            await self._may_end.wait()


async def test_one_account_has_one_at_work_whatever_it_sends() -> None:
    sender = Sender(ImagePlaces())
    for _ in range(AN_ACCOUNT):
        await sender.send("a")
    assert sender.at_work == ["a"]
    await sender.send("b")
    assert sender.at_work == ["a", "b"], "it stands in nobody's line"
    await sender.end()
    assert sender.at_work.count("a") == AN_ACCOUNT


async def test_an_account_that_sends_more_than_may_wait_is_told_when_to_come_back() -> None:
    sender = Sender(ImagePlaces())
    for _ in range(AN_ACCOUNT):
        await sender.send("a")
    with pytest.raises(RateLimited) as refused:
        await sender.send("a")
    assert refused.value.retry_after
    await sender.end()
    await Sender(sender._places).send("a")


async def test_all_accounts_together_wait_in_a_line_that_has_an_end() -> None:
    sender = Sender(ImagePlaces())
    for number in range(ALL):
        await sender.send(f"account {number}")
    assert len(sender.at_work) == AT_ONCE
    with pytest.raises(Unavailable) as refused:
        await sender.send("one more")
    assert refused.value.retry_after
    await sender.end()


async def test_every_try_costs_its_account_time_also_one_that_is_refused() -> None:
    places = ImagePlaces(budget_s=2.5 * LEAST_COST_S)
    for _ in range(3):
        with pytest.raises(ValueError, match="no image"):
            async with places.place("a"):
                raise ValueError("no image")
    with pytest.raises(RateLimited) as refused:
        async with places.place("a"):
            pass
    assert refused.value.retry_after
    async with places.place("b"):
        pass


async def test_work_that_takes_long_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("backend.services.image_places.time.monotonic", lambda: now_s)
    places = ImagePlaces(budget_s=30)
    async with places.place("a"):
        now_s += 40
    async with AsyncExitStack() as stack:
        with pytest.raises(RateLimited) as refused:
            await stack.enter_async_context(places.place("a"))
    assert refused.value.retry_after is not None
    now_s += refused.value.retry_after.total_seconds()
    async with places.place("a"):
        pass
