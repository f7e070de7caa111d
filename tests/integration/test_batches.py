"""Batches as the control plane makes them: members share a worker's slot, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from backend.auth.principal import Principal
from backend.contracts import AttemptPhase, Batch, FailureCause, Order, Wish
from backend.contracts.arq_queue import open_queues
from backend.db.engine import Database
from backend.db.listen import OutboxBell
from backend.db.models import Attempt
from backend.domain.attempt import Cause, Slot
from backend.domain.events import Consumer
from backend.ending import end_tasks
from backend.recipes import CATALOGUE
from backend.services import scheduling_state
from backend.services.cancel_generation import cancel_generation
from backend.services.delete_generation import delete_generation
from backend.services.dispatch_generation import Term, dispatch_batch, dispatch_generation, due_orders
from backend.services.expire_leases import expire_leases, expire_stalled
from backend.services.moderate_generation import moderate_generation
from backend.services.preempt_generation import preempt_generation
from backend.services.publish_generation import publish_generation
from backend.studio import Studio
from gpu_worker.fake_engine import FakeEngine, FakeSettings, Fault
from jobs import dispatch
from jobs.dispatch import Dispatcher
from moderation.verdict import Verdict
from tests.integration.leader_rig import HandLeader, hand_leader
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    lead,
    ledger_is_sound,
    make_creator,
    submit,
)
from tests.integration.test_control import orders_of, until
from tests.integration.worker_rig import QUICK, worker_in_process

MOST = 3
BATCHING = {"mini": replace(CATALOGUE["mini"], max_batch=MOST)}


@pytest.fixture(autouse=True)
def mini_is_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scheduling_state, dispatch):
        monkeypatch.setattr(module, "CATALOGUE", BATCHING)


@pytest.fixture
async def term(studio: Studio) -> Term:
    return await _long_term(studio)


@pytest.fixture
async def creator(studio: Studio) -> Principal:
    return await make_creator(studio, credits=10_000)


async def _long_term(studio: Studio) -> Term:
    term = await lead(studio)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE leader_terms SET expires_at = now() + interval '1 hour'"))
    return term


async def _batch(studio: Studio, term: Term, job_ids: Sequence[str], slot: Slot = Slot.RUN) -> list[Order]:
    return await dispatch_batch(studio, term, job_ids=job_ids, worker_id="w1", slot=slot)


async def _attempt(studio: Studio, order: Order) -> Attempt:
    async with studio.db.reading() as session:
        attempt = await session.get(Attempt, order.attempt_id)
    assert attempt is not None
    return attempt


async def _state(studio: Studio, job_id: str) -> str:
    async with studio.db.reading() as session:
        return str(await session.scalar(text("SELECT state FROM jobs WHERE id = :id"), {"id": job_id}))


# What the leader puts together


@asynccontextmanager
async def leading(studio: Studio, term: Term) -> AsyncIterator[Dispatcher]:
    """A real dispatcher; what it gives lies on the workers' queues."""
    queues = open_queues(studio.settings.require_redis_url())
    async with OutboxBell(studio.db.url, frozenset({Consumer.DISPATCH})) as bell:
        dispatcher = Dispatcher(studio, term, queues, bell)
        running = asyncio.create_task(dispatcher.run())
        try:
            yield dispatcher
        finally:
            assert await end_tasks(running, within_s=10)
            await queues.aclose()


async def _given(studio: Studio, count: int) -> list[Order]:
    async def given() -> list[Order]:
        found = await orders_of(studio.settings.require_redis_url(), "w1")
        return found if len(found) >= count else []

    found = await until(f"{count} orders", given)
    assert isinstance(found, list)
    return found


async def test_equal_jobs_that_wait_are_given_as_one_batch_and_others_are_not(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    alike = [(await submit(studio, creator, seed=seed)).id for seed in range(4)]
    other = (await submit(studio, creator, num_inference_steps=9)).id
    await worker.beat()
    async with leading(studio, term) as dispatcher:
        await dispatcher.saw(worker.heartbeat())
        orders = await _given(studio, MOST)
    batched = [order for order in orders if order.batch is not None]
    assert sorted(order.job_id for order in batched) == alike[:MOST]
    assert {order.batch for order in batched} == {Batch(id=batched[0].batch.id, size=MOST)}  # type: ignore[union-attr]  # filtered above
    rows = [await _attempt(studio, order) for order in batched]
    assert {(row.slot, row.fence, row.batch_size) for row in rows} == {("run", 1, MOST)}
    assert sorted(row.seat for row in rows) == [0, 1, 2]
    assert other not in {order.job_id for order in batched}


async def test_a_slot_is_free_when_its_whole_batch_has_left_it(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    first = [(await submit(studio, creator, seed=seed)).id for seed in range(2)]
    orders = await _batch(studio, term, first)
    third = (await submit(studio, creator)).id
    for order in orders:
        # Another job in the free seat would make the batch wait for it, or it for the batch.
        assert await dispatch_generation(studio, term, job_id=third, worker_id="w1", slot=Slot.RUN) is None
        await worker.step(order, 3)
        await worker.finish(order)
    assert await dispatch_generation(studio, term, job_id=third, worker_id="w1", slot=Slot.RUN) is not None


async def test_a_job_that_was_cancelled_meanwhile_is_left_out_of_the_batch(
    studio: Studio, term: Term, creator: Principal
) -> None:
    jobs = [(await submit(studio, creator, seed=seed)).id for seed in range(3)]
    await cancel_generation(studio, creator, jobs[1])
    orders = await _batch(studio, term, jobs)
    assert [order.job_id for order in orders] == [jobs[0], jobs[2]]
    assert {order.batch.size for order in orders if order.batch} == {2}
    await cancel_generation(studio, creator, jobs[0])
    await cancel_generation(studio, creator, jobs[2])


async def test_a_worker_on_probation_gets_no_batch(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    await worker.beat()
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE workers SET state = 'quarantined', quarantined_until = now() - interval '1 s'")
        )
    jobs = [(await submit(studio, creator, seed=seed)).id for seed in range(2)]
    assert await _batch(studio, term, jobs) == []
    async with leading(studio, term) as dispatcher:
        await dispatcher.saw(worker.heartbeat())
        (order,) = await _given(studio, 1)
    assert order.batch is None


async def test_an_order_sent_again_names_its_batch_again(
    studio: Studio, term: Term, creator: Principal
) -> None:
    orders = await _batch(studio, term, [(await submit(studio, creator, seed=s)).id for s in range(2)])
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET ordered_at = now() - interval '5 s'"))
    again = {order.attempt_id: order.batch for order in await due_orders(studio)}
    assert again == {order.attempt_id: order.batch for order in orders}


async def test_members_of_a_batch_that_broke_are_not_stalled_while_one_of_them_steps(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    going, waiting = await _batch(
        studio, term, [(await submit(studio, creator, seed=s)).id for s in range(2)]
    )
    await worker.beat(worker.status(going, 3), worker.status(waiting, 3))
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE attempts SET progressed_at = now() - interval '1 hour', seen_at = progressed_at")
        )
    # It began again: fewer steps than before, and still a sign of life.
    await worker.beat(worker.status(going, 1), worker.status(waiting, 3))
    assert await expire_stalled(studio) == 0
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET progressed_at = now() - interval '1 hour'"))
    assert await expire_stalled(studio) == 2


async def test_a_member_of_a_batch_begins_again_once(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    member, _other = await _batch(
        studio, term, [(await submit(studio, creator, seed=s)).id for s in range(2)]
    )
    stalled = []
    for step in (5, 0, 1, 0, 1):
        await worker.beat(worker.status(member, step))
        async with studio.db.transaction() as session:
            await session.execute(
                text(
                    "UPDATE attempts SET progressed_at = progressed_at - interval '45 s',"
                    " seen_at = seen_at - interval '45 s' WHERE id = :id"
                ),
                {"id": member.attempt_id},
            )
        stalled.append(await expire_stalled(studio))
    assert stalled == [0, 0, 0, 1, 0]


async def test_who_begins_again_alone_is_measured_from_there(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    member, _other = await _batch(
        studio, term, [(await submit(studio, creator, seed=s)).id for s in range(2)]
    )

    async def known() -> tuple[int, bool]:
        async with studio.db.reading() as session:
            attempt = await session.get(Attempt, member.attempt_id)
            assert attempt is not None
            return attempt.batch_size, attempt.started_at is not None

    await worker.beat(worker.status(member, 5))
    assert await known() == (2, True)
    await worker.beat(worker.status(member, 0, phase=AttemptPhase.RECEIVED))
    assert await known() == (1, False)
    await worker.beat(worker.status(member, 0, phase=AttemptPhase.LOADING))
    assert await known() == (1, True)


async def test_the_leader_asks_a_whole_batch_to_stop_for_an_urgent_job(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    jobs = [(await submit(studio, creator, seed=s, num_inference_steps=400)).id for s in range(2)]
    await worker.beat()
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE jobs SET gpu_s = 1000"))
    orders = await _batch(studio, term, jobs)
    statuses = [worker.status(order, 3, step_s=1.0) for order in orders]
    urgent = await submit(studio, await make_creator(studio, credits=10_000, tier="plus"))
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE jobs SET created_at = created_at - interval '700 s' WHERE id = :id"),
            {"id": urgent.id},
        )
    await worker.beat(*statuses)
    async with leading(studio, term) as dispatcher:
        await dispatcher.saw(worker.heartbeat(*statuses))

        async def all_are_asked() -> bool:
            wishes = await worker.beat(*statuses)
            return {wishes.attempts[order.attempt_id] for order in orders} == {Wish.PREEMPT}

        await until("both to be asked", all_are_asked)


# With a worker at the other end


@pytest.fixture
async def leader(
    db: Database, valkey_url: str, tmp_path: Path, studio_environment: Callable[..., dict[str, str]]
) -> AsyncIterator[HandLeader]:
    async with hand_leader(db, valkey_url, tmp_path, studio_environment) as made:
        yield made
        await ledger_is_sound(made.studio)


@asynccontextmanager
async def fake_worker(leader: HandLeader, **settings: object) -> AsyncIterator[None]:
    """A worker's loop whose recipe is batched, with the fake engine."""
    engine = FakeEngine(FakeSettings.model_validate({"step_s": 0.02, **settings}))
    pace = replace(QUICK, gather_s=30.0)
    served = type("Served", (), {"url": leader.api_url})()
    async with worker_in_process(leader.valkey_url, served, engine, pace=pace, recipes=BATCHING):
        yield


async def test_two_neighbours_of_a_poisoned_job_are_done_at_their_first_attempt(leader: HandLeader) -> None:
    creator = await make_creator(leader.studio, credits=10_000)
    prompts = ("a red circle", "a blue star", "a red square")
    jobs = [(await submit(leader.studio, creator, prompt)).id for prompt in prompts]
    async with fake_worker(leader, fault=Fault.RAISE, fault_prompt="blue"):
        first, poisoned, third = await leader.give_batch(jobs, "w1")
        for job_id in (jobs[0], jobs[2]):
            assert (await leader.until_state(job_id, "moderating")).fence == 1
        assert (await leader.until_state(jobs[1], "queued")).fence == 1
    assert (await leader.attempt(poisoned)).cause == Cause.ENGINE_ERROR
    for done in (first, third):
        attempt = await leader.attempt(done)
        assert (attempt.state, attempt.cause) == ("done", None)
    # It may have been the reason why the pass broke: it shares none again.
    async with leader.studio.db.reading() as session:
        found = await scheduling_state.read_jobs(session, {}, jobs)
    assert found[jobs[1]].job.batch_key == ""
    await cancel_generation(leader.studio, creator, jobs[1])


@pytest.mark.parametrize("how", [cancel_generation, delete_generation])
async def test_who_cancels_or_deletes_a_member_pays_for_its_steps_and_the_other_is_done(
    leader: HandLeader, how: Callable[[Studio, Principal, str], Awaitable[object]]
) -> None:
    creator = await make_creator(leader.studio, credits=10_000)
    left, stayed = [
        (await submit(leader.studio, creator, seed=seed, num_inference_steps=200)).id for seed in range(2)
    ]
    async with fake_worker(leader):
        order, _other = await leader.give_batch([left, stayed], "w1")
        await leader.until("some steps", lambda: leader.at_step(order, 20))
        if how is delete_generation:
            await cancel_generation(leader.studio, creator, left)
        await how(leader.studio, creator, left)
        await leader.until_state(stayed, "moderating")
    gone = await leader.job(left)
    assert gone.state == "cancelled"
    assert gone.charged is not None
    assert 0 < gone.charged < gone.quoted
    assert (await leader.attempt(order)).cause == Cause.CANCELLED


async def test_a_preempted_batch_goes_on_one_by_one_from_where_each_was(leader: HandLeader) -> None:
    creator = await make_creator(leader.studio, credits=10_000)
    jobs = [
        (await submit(leader.studio, creator, seed=seed, num_inference_steps=200)).id for seed in range(2)
    ]
    async with fake_worker(leader, step_s=0.05):
        orders = await leader.give_batch(jobs, "w1")
        await leader.until("some steps", lambda: leader.at_step(orders[0], 10))
        for order in orders:
            await leader.preempt(order)
        for job_id in jobs:
            assert (await leader.until_state(job_id, "queued")).checkpoint is not None
        for job_id, order in zip(jobs, orders, strict=True):
            again = await leader.give(job_id, "w1")
            assert again.batch is None
            await leader.until_state(job_id, "moderating")
            went_on = (await leader.attempt(again)).resumed_from_step
            assert went_on == (await leader.attempt(order)).steps_done >= 10


async def test_all_members_of_a_worker_that_dies_go_on_and_alone(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    jobs = [(await submit(studio, creator, seed=seed)).id for seed in range(3)]
    orders = await _batch(studio, term, jobs)
    await worker.beat(*(worker.status(order, 3) for order in orders))
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET lease_expires_at = now() - interval '1 second'"))
    assert await expire_leases(studio) == 3
    async with studio.db.reading() as session:
        found = await scheduling_state.read_jobs(session, {}, jobs)
    # One of them may have killed it.
    assert {now.job.batch_key for now in found.values()} == {""}
    for job_id in jobs:
        second = MessageWorker(studio, worker_id="w2")
        order = await second.take(job_id)
        assert order.fence == 2
        await second.finish(order)
        assert await _state(studio, job_id) == "moderating"


# No shipped recipe is batched yet: the worker process is told of one that is.
BATCHING_WORKER = f"""
from dataclasses import replace
from gpu_worker import served
from gpu_worker.main import main
served.CATALOGUE = {{"mini": replace(served.CATALOGUE["mini"], max_batch={MOST})}}
raise SystemExit(main())
"""


async def test_a_worker_killed_in_mid_batch_costs_no_member_its_clip_or_a_second_charge(
    leader: HandLeader,
) -> None:
    creator = await make_creator(leader.studio, credits=10_000)
    jobs = [
        (await submit(leader.studio, creator, seed=seed, num_inference_steps=200)).id for seed in range(MOST)
    ]
    leader.watched.update(dict.fromkeys(jobs, creator))
    with leader.worker("w1", program=("-c", BATCHING_WORKER), ZOETROPE_FAKE_STEP_S="0.05") as process:
        await leader.until_registered("w1")
        orders = await leader.give_batch(jobs, "w1")
        # In one pass: all of them step at once.
        await leader.until("their steps", lambda: all(leader.at_step(order, 10) for order in orders))
        process.kill()
        process.wait()
    for job_id, order in zip(jobs, orders, strict=True):
        await leader.until_state(job_id, "queued")
        assert (await leader.attempt(order)).cause == Cause.LEASE_EXPIRED
    async with leader.studio.db.reading() as session:
        found = await scheduling_state.read_jobs(session, {}, jobs)
    assert {now.job.batch_key for now in found.values()} == {""}, "one of them may have killed it"
    with leader.worker("w2"):
        await leader.until_registered("w2")
        for job_id in jobs:
            assert (await leader.give(job_id, "w2")).fence == 2
            await leader.until_state(job_id, "moderating")
            await moderate_generation(leader.studio, job_id, judge(Verdict.ALLOW))
            await publish_generation(leader.studio, job_id)
    for job_id in jobs:
        done = await leader.job(job_id)
        assert (done.state, done.charged) == ("completed", done.quoted)


async def test_a_failed_member_leaves_its_neighbours_lease_and_fence_alone(
    studio: Studio, term: Term, worker: MessageWorker, creator: Principal
) -> None:
    jobs = [(await submit(studio, creator, seed=seed)).id for seed in range(2)]
    failing, good = await _batch(studio, term, jobs)
    await worker.beat(worker.status(failing, 3), worker.status(good, 3))
    await worker.fail(failing, FailureCause.NOT_A_NUMBER)
    await worker.finish(good)
    assert [await _state(studio, job_id) for job_id in jobs] == ["queued", "moderating"]
    assert (await _attempt(studio, good)).state == "done"
    asked = await preempt_generation(studio, term, attempt_id=good.attempt_id)
    assert asked is None
