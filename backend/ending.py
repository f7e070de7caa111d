"""Ending asyncio tasks for sure."""

import asyncio
from typing import Any

AGAIN_S = 2.0


async def end_tasks(*tasks: "asyncio.Task[Any]", within_s: float) -> bool:
    """Cancel tasks until they are gone; False when some still live after `within_s`.

    One cancellation is not enough: a library may swallow it on its way (`asyncio.wait_for` before Python 3.12
    does when its inner future ends in the same turn of the loop), and whoever waited for the task would wait
    for ever. Errors of the tasks stay with them.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    left = {task for task in tasks if not task.done()}
    while left and (now := loop.time()) < deadline:
        for task in left:
            task.cancel()
        _done, left = await asyncio.wait(left, timeout=min(AGAIN_S, deadline - now))
    return not left
