"""Long calls beside the event loop."""

import asyncio
import threading
import time

import pytest

from backend.own_thread import in_own_thread


async def test_the_loop_goes_on_while_the_call_is_under_way() -> None:
    done = threading.Event()
    call = asyncio.create_task(in_own_thread(lambda: done.wait(20)))
    await asyncio.sleep(0)
    done.set()
    assert await call is True


async def test_what_the_call_raises_is_raised_where_it_is_awaited() -> None:
    def fails() -> None:
        raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        await in_own_thread(fails)


def test_nobody_waits_for_a_call_that_was_given_up() -> None:
    release = threading.Event()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await in_own_thread(lambda: release.wait(60))

    began = time.monotonic()
    try:
        asyncio.run(give_up())
        assert time.monotonic() - began < 20
    finally:
        release.set()
