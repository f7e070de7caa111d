"""The control worker's parts on real Postgres and Valkey: leading, relaying, dispatching, collecting."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import select

from backend.contracts import Heartbeat, Mailbox, Order, Outcome, Report, Wish, Wishes
from backend.contracts.arq_queue import open_queues
from backend.contracts.wire import UPLINK_FIELD, WORKERS_KEY, from_json
from backend.db import outbox
from backend.db.listen import OutboxBell
from backend.db.models import OutboxRow
from backend.db.repositories import leadership
from backend.domain.attempt import Slot
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import JobState
from backend.ending import end_tasks
from backend.services.accept_report import accept_report
from backend.services.cancel_generation import cancel_generation
from backend.services.dispatch_generation import Term
from backend.services.get_generation import get_generation
from backend.studio import Studio
from backend.wakeups import Wakeups, connect
from jobs.control import lead_term
from jobs.dispatch import Dispatcher
from jobs.leader import LeaderStuck, lead, run_together
from jobs.queues import CONTROL_QUEUE
from jobs.relay_outbox import relay_once
from jobs.take_step import BegunStep, run_step
from tests.integration.life_rig import (
    MessageWorker,
    make_creator,
    submit,
)
from tests.integration.life_rig import lead as hold_term

_HIDDEN = timedelta(seconds=30)


async def test_a_job_that_left_takes_back_no_wish_of_another(studio: Studio) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    running, following, reported = [(await submit(studio, creator)).id for _ in range(3)]
    done = await worker.take(reported)
    await worker.step(done, 1)
    await worker.finish(done)
    orders = [await worker.take(running), await worker.take(following, slot=Slot.NEXT)]
    await worker.step(orders[0], 5)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE attempts SET preempt_until = now() + interval '1 minute' WHERE id = :id"),
            {"id": orders[0].attempt_id},
        )
    queues = open_queues(studio.settings.redis_url or "")
    bell = OutboxBell(studio.settings.database_url or "", frozenset({Consumer.DISPATCH}))
    dispatcher = Dispatcher(studio, await hold_term(studio), queues, bell)
    await dispatcher.restore()
    await cancel_generation(studio, creator, following)
    await dispatcher.refresh([following])
    said = await studio.wakeups.redis.get(Mailbox(worker.worker_id).wishes)
    wishes = Wishes.model_validate_json(said)
    assert wishes.attempts[orders[0].attempt_id] is Wish.PREEMPT
    assert wishes.attempts[orders[1].attempt_id] is Wish.STOP
    assert set(wishes.acknowledged) == {orders[1].attempt_id, done.attempt_id}
    await queues.aclose()


async def until(what: str, check: Callable[[], Awaitable[object]], timeout_s: float = 20) -> object:
    """What `check` gives once it is true."""
    end = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < end:
        if found := await check():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


async def orders_of(valkey_url: str, worker_id: str) -> list[Order]:
    """What lies on a worker's queue."""
    queues = open_queues(valkey_url)
    try:
        ids = await queues.zrange(Mailbox(worker_id).orders, 0, -1)
        raw = [await queues.get(b"arq:job:" + ident) for ident in ids]
        return [Order.model_validate(from_json(data)["a"][0]) for data in raw if data]
    finally:
        await queues.aclose()


class TalkingWorker(MessageWorker):
    """Says what it says over Valkey, as a real one does."""

    async def say(self, message: Heartbeat | Report) -> None:
        redis = self.studio.wakeups.redis
        await redis.sadd(WORKERS_KEY, self.worker_id)
        await redis.xadd(Mailbox(self.worker_id).uplink, {UPLINK_FIELD: message.model_dump_json()})

    async def wishes(self) -> Wishes | None:
        raw = await self.studio.wakeups.redis.get(Mailbox(self.worker_id).wishes)
        return Wishes.model_validate_json(raw) if raw else None


async def test_a_standby_leads_within_five_seconds_after_the_leader_falls_silent(studio: Studio) -> None:
    await hold_term(studio, "silent")
    led: asyncio.Future[Term] = asyncio.get_running_loop().create_future()

    async def work(term: Term) -> None:
        led.set_result(term)
        await asyncio.Event().wait()

    standby = asyncio.create_task(lead(studio, work))
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(15):
        term = await led
    took_s = asyncio.get_running_loop().time() - began
    assert await end_tasks(standby, within_s=15)
    assert term.number == 2
    assert leadership.TERM_LEASE.total_seconds() + 1 <= 5
    assert took_s < 12


async def test_one_leads_and_a_resigned_term_is_taken_over_at_once(studio: Studio) -> None:
    async with studio.db.transaction() as session:
        assert await leadership.claim(session, name="dispatch", holder="a") == 1
    async with studio.db.transaction() as session:
        assert await leadership.claim(session, name="dispatch", holder="b") is None
        assert await leadership.claim(session, name="dispatch", holder="a") == 1
        await leadership.resign(session, name="dispatch", holder="a")
    async with studio.db.transaction() as session:
        assert await leadership.claim(session, name="dispatch", holder="b") == 2


async def test_a_job_goes_to_a_worker_that_says_hello_and_its_report_is_acknowledged(
    studio: Studio, valkey_url: str
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    worker = TalkingWorker(studio)
    leading = asyncio.create_task(lead_term(studio, await hold_term(studio), valkey_url))

    async def order() -> Order | None:
        await worker.say(worker.heartbeat())
        return next(iter(await orders_of(valkey_url, worker.worker_id)), None)

    try:
        given = await until("an order", order)
        assert isinstance(given, Order)
        assert given.job_id == job.id
        report = await worker.write(given)

        async def acknowledged() -> bool:
            await worker.say(worker.heartbeat(worker.status(given, 16)))
            await worker.say(report)
            wishes = await worker.wishes()
            return wishes is not None and given.attempt_id in wishes.acknowledged

        await until("the acknowledgement", acknowledged)
        assert (await get_generation(studio, creator, job.id)).state is JobState.MODERATING
    finally:
        assert await end_tasks(leading, within_s=15)


async def test_a_cancelled_job_is_stopped_before_its_next_heartbeat_and_frees_its_slot(
    studio: Studio, valkey_url: str
) -> None:
    creator = await make_creator(studio)
    first, second = await submit(studio, creator), await submit(studio, creator, num_inference_steps=400)
    worker = TalkingWorker(studio)
    leading = asyncio.create_task(lead_term(studio, await hold_term(studio), valkey_url))

    async def given(job_id: str) -> Order | None:
        await worker.say(worker.heartbeat())
        return next((o for o in await orders_of(valkey_url, worker.worker_id) if o.job_id == job_id), None)

    try:
        order = await until("the first order", lambda: given(first.id))
        assert isinstance(order, Order)
        await cancel_generation(studio, creator, first.id)

        async def stopped() -> bool:
            wishes = await worker.wishes()
            return wishes is not None and wishes.attempts.get(order.attempt_id) is Wish.STOP

        await until("the wish to stop", stopped)
        await until("the second order", lambda: given(second.id))
    finally:
        assert await end_tasks(leading, within_s=15)


async def test_when_one_part_of_the_leaders_work_ends_all_end_and_its_error_is_told() -> None:
    ended = asyncio.Event()

    async def others() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("a part")

    async with asyncio.timeout(15):
        with pytest.raises(LookupError, match="a part"):
            await run_together({"others": others(), "fails": fails()})
    assert ended.is_set()


async def test_of_parts_that_fail_at_the_same_moment_no_error_is_left_unheard() -> None:
    unheard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))

    async def fails() -> None:
        raise LookupError("a part")

    with pytest.raises(LookupError, match="a part"):
        await run_together({"one": fails(), "other": fails()})
    gc.collect()
    assert unheard == []


async def test_an_error_of_a_part_that_is_being_ended_is_not_left_unheard() -> None:
    unheard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
    begun = asyncio.Event()

    async def fails_at_its_end() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("a part")

    together = asyncio.create_task(run_together({"fails": fails_at_its_end()}))
    await begun.wait()
    await end_tasks(together, within_s=15)
    del together
    gc.collect()
    assert unheard == []


async def test_a_part_that_swallows_cancellations_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.ending.AGAIN_S", 0.05)
    begun = asyncio.Event()
    swallowed = 0

    async def swallows() -> None:
        nonlocal swallowed
        begun.set()
        while swallowed < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1

    async def quiet() -> None:
        await asyncio.Event().wait()

    together = asyncio.create_task(run_together({"swallows": swallows(), "quiet": quiet()}))
    await begun.wait()
    assert await end_tasks(together, within_s=15)
    assert (swallowed, together.cancelled()) == (3, True)


async def test_a_part_that_lives_on_is_named_so_that_its_process_can_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.ending.AGAIN_S", 0.02)
    monkeypatch.setattr("jobs.leader.PARTS_STOP_S", 0.1)
    over = asyncio.Event()

    async def deaf() -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    async def ends() -> None:
        return None

    try:
        with pytest.raises(LeaderStuck, match=r"^deaf$"):
            await run_together({"deaf": deaf(), "ends": ends()})
    finally:
        over.set()


async def test_places_are_answered_while_someone_leads(studio: Studio, valkey_url: str) -> None:
    creator = await make_creator(studio)
    jobs = [await submit(studio, creator, seed=seed) for seed in range(3)]
    leading = asyncio.create_task(lead_term(studio, await hold_term(studio), valkey_url))
    asking = Wakeups(connect(valkey_url), ask_timeout_s=2)
    try:

        async def answer() -> dict[str, object] | None:
            found = await asking.ask_leader({"ask": "places", "job_ids": [job.id for job in jobs]})
            return found if found and found.get("places") else None

        found = await until("an answer", answer)
        assert isinstance(found, dict)
        assert {place["reason"] for place in found["places"].values()} == {"no live worker can run mini"}
    finally:
        assert await end_tasks(leading, within_s=15)
        await asking.close()


async def test_what_valkey_lost_is_relayed_again(studio: Studio, valkey_url: str) -> None:
    queues = open_queues(valkey_url)
    async with studio.db.transaction() as session:
        await outbox.put(session, [OutboxEvent(consumer=Consumer.SWEEP, subject="video_gone")])
    await relay_once(studio, queues)
    assert await queues.zcard(CONTROL_QUEUE) == 1
    await queues.flushall()
    await relay_once(studio, queues)
    assert await queues.zcard(CONTROL_QUEUE) == 0
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE outbox SET available_at = now()"))
    await relay_once(studio, queues)
    assert await queues.zcard(CONTROL_QUEUE) == 1
    await queues.aclose()


async def test_a_step_that_fails_is_due_again_and_one_that_works_is_done(studio: Studio) -> None:
    async with studio.db.transaction() as session:
        await outbox.put(session, [OutboxEvent(consumer=Consumer.SWEEP, subject="x")])
    async with studio.db.transaction() as session:
        (event,) = await outbox.take(session, Consumer.SWEEP, limit=5, hidden=_HIDDEN)
    raw = {
        "id": event.id,
        "consumer": "sweep",
        "subject": "x",
        "payload": {},
        "trace_id": "",
        "tries": event.tries,
    }

    async def fails(_studio: Studio, _step: BegunStep) -> None:
        raise RuntimeError("storage is away")

    async def works(_studio: Studio, _step: BegunStep) -> None:
        return None

    await run_step(studio, {Consumer.SWEEP: fails}, raw)
    async with studio.db.reading() as session:
        (row,) = (await session.exec(select(OutboxRow))).all()
    assert row.done_at is None
    assert "storage is away" in row.last_error
    await run_step(studio, {Consumer.SWEEP: works}, raw)
    async with studio.db.reading() as session:
        (row,) = (await session.exec(select(OutboxRow))).all()
    assert row.done_at is not None


async def test_two_takers_never_take_one_event(studio: Studio) -> None:
    async with studio.db.transaction() as session:
        await outbox.put(session, [OutboxEvent(consumer=Consumer.SWEEP, subject=str(n)) for n in range(40)])

    async def take() -> list[str]:
        async with studio.db.transaction() as session:
            return [e.subject for e in await outbox.take(session, Consumer.SWEEP, limit=15, hidden=_HIDDEN)]

    taken = [subject for batch in await asyncio.gather(*(take() for _ in range(4))) for subject in batch]
    assert len(taken) == len(set(taken))


async def test_a_report_with_a_foreign_fence_changes_nothing(studio: Studio) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    worker = MessageWorker(studio)
    order = await worker.take(job.id)
    stale = worker.report(order, Outcome.HANDED_BACK).model_copy(update={"fence": 99})
    await accept_report(studio, stale)
    assert (await get_generation(studio, creator, job.id)).state is JobState.ASSIGNED
