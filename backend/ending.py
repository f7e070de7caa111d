"""Ending asyncio tasks for sure."""

import asyncio
from typing import Any

AGAIN_S = 1.0


async def end_tasks(*tasks: "asyncio.Task[Any]", within_s: float) -> bool:
    """Cancel tasks until they are gone; False when some still live after `within_s`.

    One cancellation is not enough: a library may swallow it on its way (`asyncio.wait_for` before Python 3.12
    does when its inner future ends in the same turn of the loop), and whoever waited for the task would wait
    for ever. Errors of the tasks stay with them. Cancelled itself, it ends them first and passes that on then:
    whoever ends tasks is often being ended too, and would leave them behind.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    cancelled: asyncio.CancelledError | None = None
    left = {task for task in tasks if not task.done()}
    while left and (now := loop.time()) < deadline:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=min(AGAIN_S, deadline - now))
        except asyncio.CancelledError as error:
            cancelled = error
        left = {task for task in left if not task.done()}
    if cancelled is not None:
        raise cancelled
    return not left
