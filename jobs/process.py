"""What the processes of this room have in common: settings, logs, figures, signals, and an end in order."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from backend.ending import end_tasks
from backend.log import configure_logging, get_logger
from backend.metrics_socket import offered_metrics
from backend.operator_errors import OperatorError
from backend.own_thread import leave
from backend.part_heartbeat import beating
from backend.settings import load_settings
from backend.studio import Studio, open_studio

log = get_logger(__name__)

END_S = 7.0
"""The supervisor kills a part that takes a second longer, `LAST_S` and closing connections included."""

LAST_S = 0.5
"""For what ended work left behind."""

Work = Sequence[Coroutine[Any, Any, None]]


def run_process(part: str, work: Callable[[Studio, str], Work], *, pool_size: int) -> int:
    """Do this work, given the studio and Valkey's URL, until a signal or until some of it ends, which it should not.

    Ends the process; returns only the exit status of what can't begin.
    """
    try:
        settings = load_settings()
        studio = open_studio(settings, pool_size=pool_size)
        redis_url = settings.require_redis_url()
    except OperatorError as error:
        print(f"zoetrope {part}: {error}", file=sys.stderr)
        return error.exit_code
    configure_logging(part, settings.log_level)
    leave(asyncio.run(_until_signalled(part, studio, lambda: work(studio, redis_url))))


async def _until_signalled(part: str, studio: Studio, work: Callable[[], Work]) -> int:
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    async with offered_metrics(studio.settings, part), beating(studio.wakeups.redis, part):
        tasks = [asyncio.create_task(each) for each in work()]
        signalled = asyncio.create_task(ending.wait())
        await asyncio.wait([*tasks, signalled], return_when=asyncio.FIRST_COMPLETED)
        await end_tasks(signalled, *tasks, within_s=END_S)
    failed = [error for task in tasks if (error := _error_of(task)) is not None]
    for error in failed:
        log.error("process.failed", part=part, error=repr(error))
    await studio.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if not await end_tasks(*left, within_s=LAST_S):
        # `asyncio.run` would wait for them for ever, and what they do would go on.
        log.critical("process.stuck", part=part, tasks=sorted(task.get_name() for task in left))
        leave(1)
    return 1 if failed else 0


def _error_of(task: "asyncio.Task[None]") -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
