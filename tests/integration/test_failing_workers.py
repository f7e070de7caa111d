"""Attempts that end without a clip, on the real database: whose fault it was, what follows, and what is preempted."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import text

from backend.auth.principal import Principal
from backend.contracts import AttemptPhase, CheckpointRef, FailureCause, Order, Outcome, Wish
from backend.db.models import Attempt, Job, Worker
from backend.db.repositories import ledger
from backend.domain.attempt import AttemptState, Cause, Slot
from backend.domain.errors import NotFound
from backend.domain.generation import JobState
from backend.domain.quarantine import Takes
from backend.recipes import CATALOGUE, MemorySwitch
from backend.services import return_job as return_job_module
from backend.services.accept_report import accept_report
from backend.services.cancel_generation import cancel_generation
from backend.services.dispatch_generation import NotLeading, Term, dispatch_generation
from backend.services.expire_leases import expire_leases, expire_stalled
from backend.services.get_generation import get_generation
from backend.services.judge_worker import judge_resting_workers, read_standings
from backend.services.list_attempts import list_attempts
from backend.services.moderate_generation import moderate_generation
from backend.services.preempt_generation import preempt_generation
from backend.services.scheduling_state import read_jobs
from backend.studio import Studio
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    lead,
    make_creator,
    run_to_end,
    submit,
)


@pytest.fixture
async def creator(studio: Studio) -> Principal:
    return await make_creator(studio, credits=10_000)


async def _job(studio: Studio, job_id: str) -> Job:
    async with studio.db.reading() as session:
        job = await session.get(Job, job_id)
        assert job is not None
        return job


async def _worker(studio: Studio, worker_id: str) -> Worker:
    async with studio.db.reading() as session:
        row = await session.get(Worker, worker_id)
        assert row is not None
        return row


async def _attempt(studio: Studio, order: Order) -> Attempt:
    async with studio.db.reading() as session:
        row = await session.get(Attempt, order.attempt_id)
        assert row is not None
        return row


async def _pass_time(studio: Studio, seconds: float) -> None:
    """As if this much time had gone by for attempts and workers' rests; heartbeats and leases go on."""
    async with studio.db.transaction() as session:
        for table, columns in {
            "attempts": ("progressed_at", "seen_at", "started_at", "ended_at", "preempt_until"),
            "workers": ("quarantined_until",),
        }.items():
            shifted = ", ".join(f"{name} = {name} - make_interval(secs => :s)" for name in columns)
            await session.execute(text(f"UPDATE {table} SET {shifted}"), {"s": seconds})


def _checkpoint(order: Order, step: int, *, second: bool = False) -> CheckpointRef:
    key = order.objects.checkpoint_b.key if second else order.objects.checkpoint_a.key
    return CheckpointRef(key=key, step=step, sha256=f"{step:064d}", size_bytes=5, identity="same")


async def _fail_jobs(worker: MessageWorker, creator: Principal, count: int) -> list[str]:
    """So many different jobs, each failed once by this worker."""
    ids = []
    for _ in range(count):
        job = await submit(worker.studio, creator)
        await worker.beat()
        await worker.fail(await worker.take(job.id), FailureCause.ENGINE_ERROR)
        ids.append(job.id)
    return ids


# Preemption


async def test_a_preempted_job_waits_again_with_its_checkpoint_and_pays_its_quote_alone(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    before = (await _balance(studio, creator))[0]
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 9)
    asked = await preempt_generation(studio, await lead(studio), attempt_id=order.attempt_id)
    assert asked is not None
    assert asked.wishes.attempts == {order.attempt_id: Wish.PREEMPT}
    assert (await worker.step(order, 10)).attempts[order.attempt_id] is Wish.PREEMPT
    shown = (await get_generation(studio, creator, job.id)).progress
    kept = _checkpoint(order, 10)
    await accept_report(studio, worker.report(order, Outcome.PREEMPTED, checkpoint=kept))
    waiting = await get_generation(studio, creator, job.id)
    assert (waiting.state, waiting.progress) == (JobState.QUEUED, shown)
    (attempt,) = await list_attempts(studio, creator, job.id)
    assert (attempt.state, attempt.cause) == (AttemptState.PREEMPTED, Cause.PREEMPTED)

    other = MessageWorker(studio, worker_id="w2")
    second = await run_to_end(studio, other, job.id)
    assert second.resume is not None
    assert (second.resume.step, second.resume.checkpoint.key) == (10, kept.key)
    done = await get_generation(studio, creator, job.id)
    assert (done.state, done.charged) == (JobState.COMPLETED, job.quoted)
    assert (await _balance(studio, creator))[0] == before - job.quoted


async def test_a_new_leader_reckons_with_what_a_checkpoint_leaves_and_the_new_attempt_did(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    steps, whole = job.num_inference_steps, (await _job(studio, job.id)).gpu_s
    order = await worker.take(job.id)
    await preempt_generation(studio, await lead(studio), attempt_id=order.attempt_id)
    await worker.step(order, 12)
    kept = _checkpoint(order, 10)
    await accept_report(studio, worker.report(order, Outcome.PREEMPTED, checkpoint=kept))
    other = MessageWorker(studio, worker_id="w2")
    second = await other.take(job.id)

    async def known() -> tuple[float, float]:
        async with studio.db.reading() as session:
            (now,) = (await read_jobs(session, {}, [job.id])).values()
        return now.job.gpu_s, now.done

    left = pytest.approx(whole * (1 - 10 / steps))
    assert await known() == (left, 0.0)
    await other.step(second, 13)
    assert await known() == (left, pytest.approx(3 / (steps - 10)))


async def test_being_preempted_for_ever_never_fails_a_job(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    for _ in range(20):
        order = await worker.take(job.id)
        await accept_report(studio, worker.report(order, Outcome.PREEMPTED))
    assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED
    assert (await _worker_or_none(studio, "w1")) is None


async def test_a_worker_that_does_not_stop_in_time_keeps_its_job(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.beat(worker.status(order, 4, step_s=5.0))
    asked = await preempt_generation(studio, await lead(studio), attempt_id=order.attempt_id)
    assert asked is not None
    assert asked.within.total_seconds() == pytest.approx(3 * 5.0 + 10)
    await _pass_time(studio, asked.within.total_seconds() - 1)
    assert (await worker.step(order, 4)).attempts[order.attempt_id] is Wish.PREEMPT
    await _pass_time(studio, 2)
    assert (await worker.step(order, 5)).attempts[order.attempt_id] is Wish.GO
    assert (await get_generation(studio, creator, job.id)).state is JobState.RUNNING
    await worker.finish(order)
    assert (await get_generation(studio, creator, job.id)).state is JobState.MODERATING


@pytest.mark.parametrize("phase", [AttemptPhase.DECODING, AttemptPhase.UPLOADING, AttemptPhase.REPORTED])
async def test_a_clip_that_is_nearly_done_is_not_preempted(
    studio: Studio, worker: MessageWorker, creator: Principal, phase: AttemptPhase
) -> None:
    order = await worker.take((await submit(studio, creator)).id)
    await worker.beat(worker.status(order, 16, phase=phase))
    assert await preempt_generation(studio, await lead(studio), attempt_id=order.attempt_id) is None
    assert (await worker.step(order, 16)).attempts[order.attempt_id] is Wish.GO


async def test_a_job_is_preempted_once_and_not_after_its_end(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 3)
    term = await lead(studio)
    asked = await asyncio.gather(
        *(preempt_generation(studio, term, attempt_id=order.attempt_id) for _ in range(8))
    )
    assert sum(each is not None for each in asked) == 1
    await cancel_generation(studio, creator, job.id)
    await _pass_time(studio, 3600)
    assert await preempt_generation(studio, term, attempt_id=order.attempt_id) is None


async def test_a_leader_whose_term_ended_preempts_nothing(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    order = await worker.take((await submit(studio, creator)).id)
    await worker.step(order, 3)
    old = await lead(studio, "old")
    await lead(studio, "new")
    with pytest.raises(NotLeading):
        await preempt_generation(studio, old, attempt_id=order.attempt_id)
    assert (await worker.step(order, 4)).attempts[order.attempt_id] is Wish.GO


# Stalls


async def test_a_worker_that_is_heard_and_makes_no_progress_loses_its_attempt_as_stalled(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    kept = _checkpoint(order, 7)
    await studio.storage.put_bytes(kept.key, b"state")
    await worker.beat(worker.status(order, 8, checkpoint=kept, step_s=0.5))
    await _pass_time(studio, 45)
    await worker.step(order, 8)
    assert await expire_stalled(studio) == 0
    await _pass_time(studio, 16)
    assert await expire_stalled(studio) == 1
    (attempt,) = await list_attempts(studio, creator, job.id)
    assert (attempt.state, attempt.cause, attempt.steps_done) == (AttemptState.LOST, Cause.STALLED, 8)
    assert (await worker.step(order, 8)).attempts[order.attempt_id] is Wish.STOP
    second = await MessageWorker(studio, worker_id="w2").take(job.id)
    assert second.fence == order.fence + 1
    assert second.resume is not None
    assert second.resume.step == 7


async def test_each_step_and_each_phase_is_progress(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    order = await worker.take((await submit(studio, creator)).id)
    for phase in (AttemptPhase.LOADING, AttemptPhase.ENCODING_TEXT):
        await worker.beat(worker.status(order, 0, phase=phase))
        await _pass_time(studio, 100)
    for step in range(1, 5):
        await worker.beat(worker.status(order, step, step_s=0.5))
        await _pass_time(studio, 55)
        assert await expire_stalled(studio) == 0


@pytest.mark.parametrize(
    ("steps", "phases"),
    [
        ((3, 4, 3, 4), [AttemptPhase.DENOISING] * 2),
        ((3, 3, 3, 3), [AttemptPhase.DENOISING, AttemptPhase.LOADING]),
        ((999, 1000, 1001, 1002), [AttemptPhase.DENOISING] * 2),
    ],
    ids=["steps to and fro", "phases to and fro", "more steps than were ordered"],
)
async def test_what_goes_no_further_than_before_is_no_progress(
    studio: Studio,
    worker: MessageWorker,
    creator: Principal,
    steps: tuple[int, ...],
    phases: list[AttemptPhase],
) -> None:
    order = await worker.take((await submit(studio, creator)).id)
    for step, phase in zip(steps, phases * 2, strict=True):
        await worker.beat(worker.status(order, step, phase=phase, step_s=0.5))
        await _pass_time(studio, 25)
    assert await expire_stalled(studio) == 1


async def test_a_worker_that_says_its_steps_take_days_is_not_waited_for_that_long(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    order = await worker.take((await submit(studio, creator)).id)
    await worker.beat(worker.status(order, 3, step_s=1e6))
    asked = await preempt_generation(studio, await lead(studio), attempt_id=order.attempt_id)
    assert asked is not None
    assert asked.within.total_seconds() == pytest.approx(3 * 60 + 10)
    await _pass_time(studio, 590)
    assert await expire_stalled(studio) == 0
    await _pass_time(studio, 20)
    assert await expire_stalled(studio) == 1


async def test_slow_steps_are_no_stall(studio: Studio, worker: MessageWorker, creator: Principal) -> None:
    order = await worker.take((await submit(studio, creator)).id)
    await worker.beat(worker.status(order, 3, step_s=30.0))
    await _pass_time(studio, 290)
    assert await expire_stalled(studio) == 0
    await _pass_time(studio, 20)
    assert await expire_stalled(studio) == 1


async def test_the_steps_of_earlier_jobs_on_the_same_worker_set_its_pace(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    for _ in range(3):
        earlier = await worker.take((await submit(studio, creator)).id)
        await worker.beat(worker.status(earlier, 1, step_s=40.0))
        await worker.finish(earlier)
    order = await worker.take((await submit(studio, creator)).id)
    await worker.beat(worker.status(order, 1))
    await _pass_time(studio, 390)
    assert await expire_stalled(studio) == 0
    await _pass_time(studio, 20)
    assert await expire_stalled(studio) == 1


async def test_loading_weights_and_the_first_step_have_longer(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    order = await worker.take((await submit(studio, creator)).id)
    for phase in (AttemptPhase.LOADING, AttemptPhase.DENOISING):
        await worker.beat(worker.status(order, 0, phase=phase))
        await _pass_time(studio, 290)
        assert await expire_stalled(studio) == 0
    await _pass_time(studio, 20)
    assert await expire_stalled(studio) == 1


async def test_what_waits_behind_another_job_does_not_stall(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    first = await worker.take((await submit(studio, creator)).id)
    behind = await worker.take((await submit(studio, creator)).id, slot=Slot.NEXT)
    await worker.beat(worker.status(first, 2), worker.status(behind, 0, phase=AttemptPhase.RECEIVED))
    await _pass_time(studio, 7200)
    await worker.beat(worker.status(first, 3), worker.status(behind, 0, phase=AttemptPhase.RECEIVED))
    assert await expire_stalled(studio) == 0
    await worker.finish(first)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET slot = 'run' WHERE state = 'ordered'"))
    assert await expire_stalled(studio) == 0


async def test_a_stalled_attempt_whose_report_lies_beside_the_clip_is_done(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.beat(worker.status(order, 16, phase=AttemptPhase.UPLOADING))
    report = await worker.write(order)
    await studio.storage.put_bytes(order.objects.report.key, report.model_dump_json().encode())
    await _pass_time(studio, 1000)
    assert await expire_stalled(studio) == 1
    assert (await get_generation(studio, creator, job.id)).state is JobState.MODERATING


async def test_a_stalled_worker_gets_no_job_until_it_was_started_again(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    order = await worker.take((await submit(studio, creator)).id)
    await worker.step(order, 3)
    await _pass_time(studio, 61)
    assert await expire_stalled(studio) == 1
    waiting = await submit(studio, creator)
    term = await lead(studio)
    await worker.beat()
    assert await _dispatch(studio, term, waiting.id, "w1") is None
    worker.boot_id = "boot2"
    await worker.beat()
    await judge_resting_workers(studio)
    assert await _dispatch(studio, term, waiting.id, "w1") is not None


# A worker that lost its lease


async def test_a_lost_workers_checkpoint_lies_where_it_can_not_write(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    kept = _checkpoint(order, 5)
    await studio.storage.put_bytes(kept.key, b"good")
    await worker.step(order, 6, checkpoint=kept)
    await _let_leases_end(studio)
    await expire_leases(studio)
    # The worker wakes up and writes to every object that its order named.
    objects = order.objects
    for signed in (objects.checkpoint_a, objects.checkpoint_b, objects.clip, objects.report):
        await studio.storage.put_bytes(signed.key, b"bad")
    second = await MessageWorker(studio, worker_id="w2").take(job.id)
    assert second.resume is not None
    assert await studio.storage.get_bytes(second.resume.checkpoint.key, limit_bytes=10) == b"good"
    stale = {signed.key for signed in vars(order.objects).values()}
    fresh = {signed.key for signed in vars(second.objects).values()}
    assert not stale & fresh


@pytest.mark.parametrize("taken", [True, False])
async def test_a_silent_worker_and_an_order_that_nobody_took_have_causes_of_their_own(
    studio: Studio, worker: MessageWorker, creator: Principal, taken: bool
) -> None:
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    if taken:
        await worker.step(order, 1)
    await _let_leases_end(studio)
    await expire_leases(studio)
    (attempt,) = await list_attempts(studio, creator, job.id)
    assert attempt.cause is (Cause.LEASE_EXPIRED if taken else Cause.NOT_TAKEN)


async def test_a_heartbeat_renews_the_lease_of_what_it_names_and_of_nothing_else(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    named = await worker.take((await submit(studio, creator)).id)
    unnamed = await worker.take((await submit(studio, creator)).id, slot=Slot.NEXT)
    await worker.beat(worker.status(named, 1), worker.status(unnamed, 0, phase=AttemptPhase.RECEIVED))
    await _let_leases_end(studio)
    await worker.step(named, 2)
    await expire_leases(studio)
    assert (await _attempt(studio, named)).state == "running"
    assert (await _attempt(studio, unnamed)).cause == Cause.LEASE_EXPIRED


async def test_no_preview_is_shown_while_a_person_decides_nor_after_an_end(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    reviewed, cancelled = await submit(studio, creator), await submit(studio, creator)
    order = await worker.take(reviewed.id)
    await worker.step(order, 4, preview=2)
    assert (await get_generation(studio, creator, reviewed.id)).preview is not None
    await worker.finish(order)
    await moderate_generation(studio, reviewed.id, judge(Verdict.REVIEW))
    assert (await get_generation(studio, creator, reviewed.id)).preview is None
    await worker.step(await worker.take(cancelled.id), 4, preview=2)
    await cancel_generation(studio, creator, cancelled.id)
    assert (await get_generation(studio, creator, cancelled.id)).preview is None


async def test_a_heartbeat_of_another_worker_starts_nothing(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await MessageWorker(studio, worker_id="impostor").step(order, 5, checkpoint=_checkpoint(order, 5))
    row = await _job(studio, job.id)
    assert (row.state, row.steps_done, row.checkpoint) == ("assigned", 0, None)
    assert (await _attempt(studio, order)).seen_at is None


# Whose failure it was


async def test_the_same_engine_error_on_two_workers_fails_the_job_at_no_charge_and_clears_both(
    studio: Studio, creator: Principal
) -> None:
    workers = [MessageWorker(studio, worker_id=f"w{n}") for n in range(2)]
    job = await submit(studio, creator)
    for each in workers:
        await each.beat()
        await each.fail(await each.take(job.id), FailureCause.ENGINE_ERROR)
    failed = await get_generation(studio, creator, job.id)
    assert (failed.state, failed.error_code, failed.charged) == (JobState.FAILED, "engine_error", 0)
    for each in workers:
        await _fail_jobs(each, creator, 2)
        assert (await _worker(studio, each.worker_id)).state == "live"


async def test_a_worker_that_fails_three_jobs_in_a_row_rests_and_its_jobs_go_elsewhere(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    other = MessageWorker(studio, worker_id="w2")
    await other.beat()
    jobs = await _fail_jobs(worker, creator, 3)
    await worker.beat()
    row = await _worker(studio, "w1")
    assert (row.state, row.quarantine_reason) == (
        "quarantined",
        "3 attempts at 3 jobs failed in a row: engine_error.",
    )
    assert row.quarantined_until is not None
    assert row.heartbeat_at is not None
    assert await read_standings(studio) == {"w1": Takes.NOTHING, "w2": Takes.ALL}
    term = await lead(studio)
    assert await _dispatch(studio, term, jobs[0], "w1") is None
    for job_id in jobs:
        assert (await get_generation(studio, creator, job_id)).state is JobState.QUEUED
        await run_to_end(studio, other, job_id)
    assert {(await _job(studio, job_id)).state for job_id in jobs} == {"completed"}


async def test_a_quarantined_worker_proves_itself_on_one_job(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    await MessageWorker(studio, worker_id="w2").beat()
    await _fail_jobs(worker, creator, 3)
    await worker.beat()
    await _pass_time(studio, 31)
    assert (await read_standings(studio))["w1"] is Takes.ONE
    probe, another = await submit(studio, creator), await submit(studio, creator)
    term = await lead(studio)
    assert await _dispatch(studio, term, probe.id, "w1", Slot.NEXT) is None
    order = await _dispatch(studio, term, probe.id, "w1")
    assert order is not None
    assert await _dispatch(studio, term, another.id, "w1") is None
    await worker.step(order, 3)
    assert (await _worker(studio, "w1")).state == "quarantined"
    await worker.finish(order)
    assert (await _worker(studio, "w1")).state == "quarantined"
    await moderate_generation(studio, probe.id, judge(Verdict.ALLOW))
    assert (await _worker(studio, "w1")).state == "live"
    assert (await read_standings(studio))["w1"] is Takes.ALL


async def test_a_failed_probation_rests_longer(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    await MessageWorker(studio, worker_id="w2").beat()
    await _fail_jobs(worker, creator, 3)
    first = await _rest_s(studio, "w1")
    await _pass_time(studio, 31)
    await _fail_jobs(worker, creator, 1)
    assert await _rest_s(studio, "w1") == pytest.approx(2 * first, abs=1)


async def test_the_last_worker_of_a_model_is_never_away_for_long(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    for _ in range(10):
        await _fail_jobs(worker, creator, 1)
        await _pass_time(studio, 61)
        assert (await read_standings(studio))["w1"] is not Takes.NOTHING


async def test_a_worker_that_becomes_the_last_one_comes_back_sooner(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    await MessageWorker(studio, worker_id="w2").beat()
    for _ in range(9):
        await _fail_jobs(worker, creator, 1)
        await _pass_time(studio, 1000)
    await _fail_jobs(worker, creator, 1)
    assert await _rest_s(studio, "w1") > 800
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE workers SET state = 'gone' WHERE id = 'w2'"))
    await judge_resting_workers(studio)
    assert await _rest_s(studio, "w1") <= 60


async def test_draining_and_silence_do_not_lift_a_quarantine(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    await MessageWorker(studio, worker_id="w2").beat()
    await _fail_jobs(worker, creator, 3)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE workers SET heartbeat_at = now() - interval '1 hour'"))
    await expire_leases(studio)
    assert (await _worker(studio, "w1")).state == "gone"
    worker.boot_id = "boot2"
    await worker.beat()
    assert (await _worker(studio, "w1")).state == "quarantined"


async def test_a_job_on_one_sound_worker_fails_at_the_third_engine_error(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    await run_to_end(studio, worker, (await submit(studio, creator)).id)
    job = await submit(studio, creator)
    for number in range(3):
        assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED, number
        await worker.fail(await worker.take(job.id), FailureCause.ENGINE_ERROR)
    assert (await get_generation(studio, creator, job.id)).state is JobState.FAILED


async def test_a_job_that_outlives_twelve_workers_ends_without_blame(
    studio: Studio, creator: Principal
) -> None:
    job = await submit(studio, creator)
    for number in range(12):
        lost = MessageWorker(studio, worker_id=f"w{number}")
        await lost.step(await lost.take(job.id), 2)
        lost.boot_id = "boot2"
        await lost.beat()
    failed = await get_generation(studio, creator, job.id)
    assert (failed.state, failed.error_code, failed.charged) == (JobState.FAILED, "workers_failed", 0)


# Memory


async def test_out_of_memory_waits_for_a_larger_worker(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    await worker.beat()
    await MessageWorker(studio, worker_id="large", memory_gb=24).beat()
    job = await submit(studio, creator)
    await worker.fail(await worker.take(job.id), FailureCause.OUT_OF_MEMORY)
    assert (await _job(studio, job.id)).state == "queued"
    async with studio.db.reading() as session:
        (now,) = (await read_jobs(session, {}, [job.id])).values()
    assert 8 < now.job.memory_gb <= 24


async def test_out_of_memory_without_a_larger_worker_throws_the_recipes_switches(
    studio: Studio, worker: MessageWorker, creator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = replace(CATALOGUE["mini"], memory_switches=(MemorySwitch.VAE_TILING,))
    monkeypatch.setattr(return_job_module, "CATALOGUE", {"mini": saving})
    await worker.beat()
    job = await submit(studio, creator)
    first = await worker.take(job.id)
    await worker.fail(first, FailureCause.OUT_OF_MEMORY)
    second = await worker.take(job.id)
    assert (first.saves_memory, second.saves_memory) == (False, True)
    await worker.fail(second, FailureCause.OUT_OF_MEMORY)
    await worker.fail(await worker.take(job.id), FailureCause.OUT_OF_MEMORY)
    failed = await get_generation(studio, creator, job.id)
    assert (failed.state, failed.error_code, failed.charged) == (JobState.FAILED, "out_of_memory", 0)
    assert "smaller or shorter" in (failed.error_message or "")
    assert [a.saves_memory for a in await list_attempts(studio, creator, job.id)] == [False, True, True]


async def test_out_of_memory_with_nothing_to_help_is_tried_once_more_and_says_so(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    await worker.beat()
    job = await submit(studio, creator)
    await worker.fail(await worker.take(job.id), FailureCause.OUT_OF_MEMORY)
    assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED
    await worker.fail(await worker.take(job.id), FailureCause.OUT_OF_MEMORY)
    failed = await get_generation(studio, creator, job.id)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "out_of_memory")


# What the owner sees


async def test_an_owner_sees_every_attempt_and_a_stranger_none(
    studio: Studio, worker: MessageWorker, creator: Principal
) -> None:
    job = await submit(studio, creator)
    first = await worker.take(job.id)
    await worker.step(first, 4)
    await accept_report(studio, worker.report(first, Outcome.HANDED_BACK, checkpoint=_checkpoint(first, 4)))
    second = await MessageWorker(studio, worker_id="w2").take(job.id)
    attempts = await list_attempts(studio, creator, job.id)
    assert [(a.number, a.state, a.cause, a.moved) for a in attempts] == [
        (1, AttemptState.HANDED_BACK, Cause.HANDED_BACK, False),
        (second.fence, AttemptState.ORDERED, None, True),
    ]
    with pytest.raises(NotFound):
        await list_attempts(studio, await make_creator(studio), job.id)


async def _dispatch(
    studio: Studio, term: Term, job_id: str, worker_id: str, slot: Slot = Slot.RUN
) -> Order | None:
    return await dispatch_generation(studio, term, job_id=job_id, worker_id=worker_id, slot=slot)


async def _balance(studio: Studio, creator: Principal) -> tuple[int, int]:
    async with studio.db.reading() as session:
        return await ledger.balance(session, creator.account_id)


async def _worker_or_none(studio: Studio, worker_id: str) -> Worker | None:
    async with studio.db.reading() as session:
        return await session.get(Worker, worker_id)


async def _let_leases_end(studio: Studio) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET lease_expires_at = now() - interval '1 second'"))


async def _rest_s(studio: Studio, worker_id: str) -> float:
    async with studio.db.reading() as session:
        row = await session.get(Worker, worker_id)
        assert row is not None
        assert row.quarantined_until is not None
        now = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    assert isinstance(now, datetime)
    return (row.quarantined_until - now).total_seconds()
