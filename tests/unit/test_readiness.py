"""However many ask whether the studio is ready, it is looked at once in a while."""

import asyncio

import pytest

from backend.api import readiness
from backend.api.readiness import Readiness


async def test_all_who_ask_at_once_wait_for_one_look() -> None:
    looks = 0
    seen = asyncio.Event()

    async def look() -> dict[str, str]:
        nonlocal looks
        looks += 1
        await seen.wait()
        return {"database": "ok"}

    ready = Readiness(look)
    asking = [asyncio.create_task(ready.now()) for _ in range(500)]
    await asyncio.sleep(0)
    asking[0].cancel()  # whoever asked first may hang up
    seen.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [a for a in answers if a != {"database": "ok"}] == [answers[0]]
    assert looks <= 2


async def test_an_answer_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["ok", "away"])

    async def look() -> dict[str, str]:
        return {"storage": next(states)}

    ready = Readiness(look)
    assert [await ready.now() for _ in range(3)] == [{"storage": "ok"}] * 3
    monkeypatch.setattr(readiness, "FRESH_S", -1.0)
    assert await ready.now() == {"storage": "away"}
