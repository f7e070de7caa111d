"""The control worker: stands by to lead, relays the outbox, and takes the steps that need no GPU and no model."""

from backend.contracts.arq_queue import open_queues, serve_queue
from backend.db.listen import OutboxBell
from backend.domain.events import Consumer
from backend.notify import notify_ready
from backend.services.dispatch_generation import Term
from backend.studio import Studio
from backend.wakeups import connect
from jobs.answer import answer_questions
from jobs.check_ledger import check_ledger_nightly
from jobs.collect import Collector
from jobs.control_steps import CONTROL_STEPS
from jobs.dispatch import Dispatcher
from jobs.expire import expire
from jobs.hearing import Hearing
from jobs.leader import lead, run_together
from jobs.process import Work, run_process
from jobs.queues import CONTROL_QUEUE
from jobs.reap import reap
from jobs.reconcile import reconcile
from jobs.relay_outbox import relay_outbox
from jobs.take_step import step_function
from jobs.watch_tiers import watch_tiers

STEPS_AT_ONCE = 20


def main() -> int:
    """Run until a signal."""
    return run_process("control", _work, pool_size=12)


def _work(studio: Studio, redis_url: str) -> Work:
    async def term_work(term: Term) -> None:
        await lead_term(studio, term, redis_url)

    notify_ready()
    return (
        lead(studio, term_work),
        relay_outbox(studio, redis_url),
        serve_queue(redis_url, CONTROL_QUEUE, step_function(studio, CONTROL_STEPS), at_once=STEPS_AT_ONCE),
    )


async def lead_term(studio: Studio, term: Term, redis_url: str) -> None:
    """All that the leader does, as one group: when one part ends, all end."""
    uplinks, questions, queues = connect(redis_url), connect(redis_url), open_queues(redis_url)
    hearing = Hearing(studio.clock)
    try:
        async with OutboxBell(studio.db.url, frozenset({Consumer.DISPATCH})) as bell:
            dispatcher = Dispatcher(studio, term, queues, bell)
            collector = Collector(studio, uplinks, hearing, dispatcher.saw)
            await run_together(
                {
                    "dispatch": dispatcher.run(),
                    "collect": collector.run(),
                    "answer": answer_questions(questions, dispatcher),
                    "reap": reap(studio, hearing),
                    "reconcile": reconcile(studio, dispatcher.waits),
                    "expire": expire(studio),
                    "check_ledger": check_ledger_nightly(studio),
                    "tiers": watch_tiers(studio),
                }
            )
    finally:
        for client in (uplinks, questions, queues):
            await client.aclose()


if __name__ == "__main__":
    raise SystemExit(main())
