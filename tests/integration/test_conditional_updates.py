"""Whoever comes second changes nothing: stale readers, ended terms, foreign clips."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from backend.contracts import FailureCause, Outcome
from backend.db.models import Artifact, Attempt, Job
from backend.db.repositories import jobs, leadership
from backend.domain.attempt import Cause, Slot
from backend.domain.generation import JobEvent
from backend.services.accept_report import accept_report
from backend.services.dispatch_generation import NotLeading, dispatch_generation
from backend.services.publish_generation import publish_generation
from backend.studio import Studio
from tests.integration.life_rig import (
    MessageWorker,
    lead,
    make_creator,
    submit,
)


async def test_a_stale_reader_moves_nothing_even_when_the_state_came_back(studio: Studio) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    async with studio.db.reading() as session:
        stale = await session.get(Job, job.id)
    assert stale is not None
    worker = MessageWorker(studio)
    order = await worker.take(job.id)
    await accept_report(studio, worker.report(order, Outcome.HANDED_BACK))
    async with studio.db.transaction() as session:
        read = await session.merge(stale, load=False)
        assert read.state == "queued"
        assert not await jobs.move(session, read, JobEvent.DISPATCHED, fence=99)
    async with studio.db.reading() as session:
        now = await session.get(Job, job.id)
    assert now is not None
    assert (now.state, now.fence) == ("queued", order.fence)


async def test_a_term_that_ran_out_dispatches_nothing_though_nobody_took_it_over(studio: Studio) -> None:
    job = await submit(studio, await make_creator(studio))
    term = await lead(studio)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE leader_terms SET expires_at = now() - interval '1 second'"))
    with pytest.raises(NotLeading):
        await dispatch_generation(studio, term, job_id=job.id, worker_id="w1", slot=Slot.RUN)


async def test_a_term_is_not_taken_over_while_its_holder_renews_it(studio: Studio) -> None:
    term = await lead(studio, "first")
    async with studio.db.transaction() as session:
        assert await leadership.claim(session, name=term.name, holder="second") is None
        assert await leadership.holds_term(session, name=term.name, holder="first", term=term.number)


async def test_a_report_of_an_attempt_that_was_given_up_is_refused(studio: Studio) -> None:
    job = await submit(studio, await make_creator(studio))
    worker = MessageWorker(studio)
    order = await worker.take(job.id)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE attempts SET state = 'lost', cause = 'stalled', ended_at = now() WHERE id = :id"),
            {"id": order.attempt_id},
        )
        await session.execute(text("UPDATE jobs SET state = 'queued', version = version + 1"))
    await worker.finish(order)
    await worker.fail(order, FailureCause.BAD_ORDER)
    async with studio.db.reading() as session:
        assert (await session.exec(select(Artifact))).all() == []
        attempt = await session.get(Attempt, order.attempt_id)
        row = await session.get(Job, job.id)
    assert attempt is not None
    assert row is not None
    assert (attempt.cause, attempt.steps_done, row.state) == (Cause.STALLED, 0, "queued")


async def test_a_report_of_another_worker_is_refused(studio: Studio) -> None:
    job = await submit(studio, await make_creator(studio))
    worker = MessageWorker(studio)
    order = await worker.take(job.id)
    report = await worker.write(order)
    await accept_report(studio, report.model_copy(update={"worker_id": "w2"}))
    async with studio.db.reading() as session:
        assert (await session.get_one(Attempt, order.attempt_id)).ended_at is None
        assert (await session.exec(select(Artifact))).all() == []
    await accept_report(studio, report)
    async with studio.db.reading() as session:
        assert (await session.get_one(Attempt, order.attempt_id)).state == "done"


@pytest.mark.parametrize("same", ["job", "slot"])
async def test_the_database_itself_refuses_a_second_live_attempt(studio: Studio, same: str) -> None:
    creator = await make_creator(studio)
    job, other = await submit(studio, creator), await submit(studio, creator)
    order = await MessageWorker(studio).take(job.id)
    second = Attempt(
        id="att_second",
        job_id=job.id if same == "job" else other.id,
        number=2,
        fence=2,
        worker_id="w1" if same == "slot" else "w2",
        slot="run",
        lease_expires_at=studio.clock.now(),
    )
    with pytest.raises(IntegrityError, match="attempts_one_live" if same == "job" else "attempts_slot"):
        async with studio.db.transaction() as session:
            session.add(second)
    async with studio.db.reading() as session:
        assert list(await session.exec(select(Attempt.id))) == [order.attempt_id]


async def test_objects_outside_the_attempts_own_folder_make_no_clip(studio: Studio) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    theirs = await worker.write(await worker.take((await submit(studio, creator)).id))
    job = await submit(studio, creator)
    order = await MessageWorker(studio, worker_id="w2").take(job.id)
    stolen = theirs.model_copy(
        update={
            "worker_id": "w2",
            "attempt_id": order.attempt_id,
            "job_id": order.job_id,
            "fence": order.fence,
        }
    )
    await accept_report(studio, stolen)
    async with studio.db.reading() as session:
        row = await session.get(Job, job.id)
        attempt = await session.get(Attempt, order.attempt_id)
        kept = (await session.exec(select(Artifact).where(Artifact.job_id == job.id))).all()
    assert row is not None
    assert attempt is not None
    assert (row.state, attempt.cause, list(kept)) == ("queued", Cause.STORAGE_ERROR, [])


async def test_an_approved_clip_without_a_verdict_on_its_bytes_is_never_released(studio: Studio) -> None:
    job = await submit(studio, await make_creator(studio))
    worker = MessageWorker(studio)
    await worker.finish(await worker.take(job.id))
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE jobs SET state = 'approved', version = version + 1"))
    await publish_generation(studio, job.id)
    async with studio.db.reading() as session:
        row = await session.get(Job, job.id)
        states = set(await session.exec(select(Artifact.state).where(Artifact.job_id == job.id)))
    assert row is not None
    assert (row.state, row.charged) == ("failed", 0)
    assert "released" not in states
