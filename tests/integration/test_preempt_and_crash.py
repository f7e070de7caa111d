"""Real worker processes that are preempted, killed, stopped and hung: nothing is lost, and nothing stale is written."""

import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from backend.auth.principal import Principal
from backend.db.engine import Database
from backend.db.models import Worker
from backend.domain.attempt import Cause
from tests.integration.leader_rig import HandLeader, hand_leader, keep_checkpoints_every
from tests.integration.life_rig import ledger_is_sound, make_creator, submit

NOTICED_WITHIN_S = 15


@pytest.fixture
async def leader(
    db: Database,
    valkey_url: str,
    tmp_path: Path,
    studio_environment: Callable[..., dict[str, str]],
) -> AsyncIterator[HandLeader]:
    async with hand_leader(db, valkey_url, tmp_path, studio_environment) as made:
        yield made
        await ledger_is_sound(made.studio)


@pytest.fixture
async def creator(leader: HandLeader) -> Principal:
    return await make_creator(leader.studio, credits=10_000)


async def _submit(leader: HandLeader, creator: Principal, steps: int) -> str:
    """A job of always the same pixels, whose progress is watched from now on."""
    job = await submit(leader.studio, creator, seed=7, num_inference_steps=steps)
    leader.watched[job.id] = creator
    return job.id


@pytest.mark.parametrize(
    ("engine", "steps", "at_step"),
    [pytest.param("fake", 60, 20, id="fake"), pytest.param("diffusers", 120, 30, id="mini")],
)
async def test_a_preempted_clip_has_the_frames_of_an_undisturbed_one(
    leader: HandLeader, creator: Principal, engine: str, steps: int, at_step: int
) -> None:
    whole, cut = await _submit(leader, creator, steps), await _submit(leader, creator, steps)
    with leader.worker("w1", engine=engine, ZOETROPE_FAKE_STEP_S="0.03"):
        await leader.until_registered("w1")
        await leader.give(whole, "w1")
        await leader.until_state(whole, "moderating")

        first = await leader.give(cut, "w1")
        await leader.until("some steps", lambda: leader.at_step(first, at_step))
        seen = leader.status(first)
        await leader.preempt(first)
        waiting = await leader.until_state(cut, "queued")
        ended = await leader.attempt(first)
        assert (ended.state, ended.cause) == ("preempted", Cause.PREEMPTED)
        assert waiting.checkpoint is not None
        # Not one step was lost, and it stopped at one of the next boundaries.
        assert seen is not None
        assert seen.step <= ended.steps_done < steps
        assert waiting.checkpoint["step"] == ended.steps_done

        second = await leader.give(cut, "w1")
        done = await leader.until_state(cut, "moderating")
    went_on = await leader.attempt(second)
    assert (went_on.resumed_from_step, went_on.exact_resume) == (ended.steps_done, True)
    assert (done.fence, done.quoted) == (2, waiting.quoted)
    np.testing.assert_array_equal(await leader.frames(cut), await leader.frames(whole))


async def test_a_killed_mini_worker_goes_on_from_its_checkpoint_to_the_same_frames(
    leader: HandLeader, creator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_checkpoints_every(monkeypatch, 0.3)
    whole, cut = await _submit(leader, creator, 200), await _submit(leader, creator, 200)
    with leader.worker("w1", engine="diffusers") as process:
        await leader.until_registered("w1")
        first = await leader.give(cut, "w1")
        await leader.until("a durable checkpoint", lambda: _recorded_checkpoint(leader, cut))
        process.kill()
        process.wait()
    killed = leader.heard["w1"].boot_id
    with leader.worker("w1", engine="diffusers"):
        await leader.until_state(cut, "queued")
        # Whichever is sooner: the new process says hello, or the old one's lease runs out.
        assert (await leader.attempt(first)).cause in (Cause.WORKER_LOST, Cause.LEASE_EXPIRED)
        await leader.until_registered("w1", after_boot=killed)
        kept = (await leader.job(cut)).checkpoint
        second = await leader.give(cut, "w1")
        await leader.until_state(cut, "moderating")
        await leader.give(whole, "w1")
        await leader.until_state(whole, "moderating")
    assert kept is not None
    assert (await leader.attempt(second)).resumed_from_step == kept["step"] > 0
    np.testing.assert_array_equal(await leader.frames(cut), await leader.frames(whole))


async def test_a_dead_worker_is_noticed_within_fifteen_seconds(
    leader: HandLeader, creator: Principal
) -> None:
    job = await _submit(leader, creator, 400)
    with leader.worker("w1", ZOETROPE_FAKE_STEP_S="0.1") as process:
        order = await leader.give(job, "w1")
        await leader.until("a step", lambda: leader.at_step(order, 1))
        process.kill()
        process.wait()
        killed = time.monotonic()
    await leader.until_state(job, "queued", timeout_s=NOTICED_WITHIN_S)
    assert time.monotonic() - killed < NOTICED_WITHIN_S
    assert (await leader.attempt(order)).cause == Cause.LEASE_EXPIRED


async def test_a_worker_stopped_past_its_lease_wakes_up_and_changes_nothing(
    leader: HandLeader, creator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_checkpoints_every(monkeypatch, 0.2)
    job = await _submit(leader, creator, 100)
    with (
        leader.worker("w1", ZOETROPE_FAKE_STEP_S="0.1") as stopped,
        leader.worker("w2", ZOETROPE_FAKE_STEP_S="0.02"),
    ):
        first = await leader.give(job, "w1")
        await leader.until("a durable checkpoint", lambda: _recorded_checkpoint(leader, job))
        stopped.send_signal(signal.SIGSTOP)
        await leader.until_state(job, "queued", timeout_s=NOTICED_WITHIN_S)
        second = await leader.give(job, "w2")
        await leader.until_state(job, "moderating")
        assert (await leader.attempt(second)).resumed_from_step > 0
        rows, objects = await _all_of(leader, job), await leader.objects(f"jobs/{job}/{second.fence}/")

        beat = leader.heard["w1"].seq
        stopped.send_signal(signal.SIGCONT)
        await leader.until("its heartbeat", lambda: leader.heard["w1"].seq > beat)
        await leader.until("it to let go", lambda: not leader.heard["w1"].attempts)
        assert await _all_of(leader, job) == rows
        assert await leader.objects(f"jobs/{job}/{second.fence}/") == objects
        assert (await leader.attempt(first)).cause == Cause.LEASE_EXPIRED

        following = await _submit(leader, creator, 10)
        await leader.give(following, "w1")
        await leader.until_state(following, "moderating")


async def test_a_worker_that_hangs_is_stalled_and_its_job_goes_on_elsewhere(
    leader: HandLeader, creator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_checkpoints_every(monkeypatch, 0.1)
    job = await _submit(leader, creator, 40)
    with (
        leader.worker(
            "w1", ZOETROPE_FAKE_STEP_S="0.1", ZOETROPE_FAKE_FAULT="hang", ZOETROPE_FAKE_FAULT_STEP="10"
        ),
        leader.worker("w2"),
    ):
        first = await leader.give(job, "w1")
        await leader.until("its last step", lambda: leader.at_step(first, 9))
        await leader.until("a durable checkpoint", lambda: _recorded_checkpoint(leader, job))
        beat = leader.heard["w1"].seq
        async with leader.studio.db.transaction() as session:
            await session.execute(
                text("UPDATE attempts SET progressed_at = progressed_at - interval '61 seconds'")
            )
        await leader.until_state(job, "queued")
        assert (await leader.attempt(first)).cause == Cause.STALLED
        # It lives and is heard all the time, yet gets nothing while it may still hang.
        await leader.until("its heartbeats", lambda: leader.heard["w1"].seq > beat + 2)
        async with leader.studio.db.reading() as session:
            row = await session.get(Worker, "w1")
        assert row is not None
        assert (row.state, row.quarantine_reason) == (
            "quarantined",
            "It made no progress and may still hang.",
        )
        second = await leader.give(job, "w2")
        await leader.until_state(job, "moderating")
    assert 0 < (await leader.attempt(second)).resumed_from_step <= 9


async def _recorded_checkpoint(leader: HandLeader, job_id: str) -> bool:
    return (await leader.job(job_id)).checkpoint is not None


async def _all_of(leader: HandLeader, job_id: str) -> list[object]:
    """Every row that a worker's message could change."""
    async with leader.studio.db.reading() as session:
        return [
            tuple(row)
            for query in (
                "SELECT * FROM jobs WHERE id = :id",
                "SELECT * FROM attempts WHERE job_id = :id ORDER BY fence",
                "SELECT * FROM artifacts WHERE job_id = :id ORDER BY kind",
                "SELECT consumer, subject FROM outbox WHERE subject = :id AND done_at IS NULL ORDER BY id",
                "SELECT * FROM holds WHERE job_id = :id",
            )
            for row in await session.execute(text(query), {"id": job_id})
        ]
