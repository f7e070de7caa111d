"""Long calls beside the event loop that nobody waits for at the end of the process."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")


async def in_own_thread(call: Callable[[], T]) -> T:
    """The call's result, or what it raised. Cancelled, the call goes on and its end is lost.

    Importing torch takes seconds that can't be cut short, and `asyncio.run` joins the threads of `asyncio.to_thread`:
    a process that was told to end would first finish its start.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def give(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # there is one where there is no error

    def work() -> None:
        try:
            answer: tuple[T | None, BaseException | None] = (call(), None)
        except BaseException as error:  # noqa: BLE001  # carried to whoever waits
            answer = (None, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(give, *answer)

    threading.Thread(target=work, name="own-thread", daemon=True).start()
    return await outcome


def leave(status: int) -> NoReturn:
    """End the process now: a thread may still be inside a step, or a model's start, that nobody waits for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
