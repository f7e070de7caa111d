"""The control worker: stands by to lead, relays the outbox, and takes the steps that need no GPU and no model."""

import asyncio
import signal
import sys

from backend.contracts.arq_queue import open_queues, serve_queue
from backend.db.listen import OutboxBell
from backend.domain.events import Consumer
from backend.ending import end_tasks
from backend.log import configure_logging, get_logger
from backend.notify import notify_ready
from backend.operator_errors import OperatorError
from backend.services.dispatch_generation import Term
from backend.settings import load_settings
from backend.studio import Studio, open_studio
from backend.wakeups import connect
from jobs.answer import answer_questions
from jobs.check_ledger import check_ledger_nightly
from jobs.collect import Collector
from jobs.control_steps import CONTROL_STEPS
from jobs.dispatch import Dispatcher
from jobs.expire import expire
from jobs.hearing import Hearing
from jobs.leader import lead
from jobs.queues import CONTROL_QUEUE
from jobs.reap import reap
from jobs.reconcile import reconcile
from jobs.relay_outbox import relay_outbox
from jobs.take_step import step_function

log = get_logger(__name__)

STEPS_AT_ONCE = 20


def main() -> int:
    """Run until a signal."""
    try:
        settings = load_settings()
        studio = open_studio(settings, pool_size=12)
        redis_url = settings.require_redis_url()
    except OperatorError as error:
        print(f"zoetrope control: {error}", file=sys.stderr)
        return error.exit_code
    configure_logging("control", settings.log_level)
    asyncio.run(_serve(studio, redis_url))
    return 0


async def _serve(studio: Studio, redis_url: str) -> None:
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    queues = open_queues(redis_url)

    async def work(term: Term) -> None:
        await lead_term(studio, term, redis_url)

    tasks = [
        asyncio.create_task(lead(studio, work)),
        asyncio.create_task(relay_outbox(studio, queues)),
        asyncio.create_task(
            serve_queue(redis_url, CONTROL_QUEUE, step_function(studio, CONTROL_STEPS), at_once=STEPS_AT_ONCE)
        ),
    ]
    notify_ready()
    signalled = asyncio.create_task(ending.wait())
    await asyncio.wait([*tasks, signalled], return_when=asyncio.FIRST_COMPLETED)
    await end_tasks(*tasks, within_s=7)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.error("control.failed", error=repr(error))
    await queues.aclose()
    await studio.close()


async def lead_term(studio: Studio, term: Term, redis_url: str) -> None:
    """All that the leader does, as one group: when one part ends, all end."""
    uplinks, questions, queues = connect(redis_url), connect(redis_url), open_queues(redis_url)
    hearing = Hearing(studio.clock)
    try:
        async with OutboxBell(studio.db.url, frozenset({Consumer.DISPATCH})) as bell:
            dispatcher = Dispatcher(studio, term, queues, bell)
            collector = Collector(studio, uplinks, hearing, dispatcher.saw)
            async with asyncio.TaskGroup() as group:
                group.create_task(dispatcher.run())
                group.create_task(collector.run())
                group.create_task(answer_questions(questions, dispatcher))
                group.create_task(reap(studio, hearing))
                group.create_task(reconcile(studio))
                group.create_task(expire(studio))
                group.create_task(check_ledger_nightly(studio))
    finally:
        for client in (uplinks, questions, queues):
            await client.aclose()


if __name__ == "__main__":
    raise SystemExit(main())
