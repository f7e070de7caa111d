"""What is believed of a worker's reports and heartbeats: of its own attempt, its fence, its job and its clip."""

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlmodel import select

from backend.contracts import FailureCause, Outcome, ReportedArtifact
from backend.db.models import Attempt, Job
from backend.domain.attempt import Slot
from backend.services.accept_report import accept_report
from backend.studio import Studio
from tests.integration.life_rig import MessageWorker, make_creator, submit

Artifacts = tuple[ReportedArtifact, ...]


async def sql(studio: Studio, statement: str) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text(statement))


async def job_of(studio: Studio, job_id: str) -> Job:
    async with studio.db.reading() as session:
        return await session.get_one(Job, job_id)


async def attempt_of(studio: Studio, attempt_id: str) -> Attempt:
    async with studio.db.reading() as session:
        return await session.get_one(Attempt, attempt_id)


def _one_larger(artifacts: Artifacts) -> Artifacts:
    first, *others = artifacts
    return (first.model_copy(update={"size_bytes": first.size_bytes + 1}), *others)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda three: three[:2], id="one too few"),
        pytest.param(lambda three: (*three, three[0]), id="one twice"),
        pytest.param(lambda three: (*three[:2], three[1]), id="one in the place of another"),
        pytest.param(_one_larger, id="of another size than in storage"),
    ],
)
async def test_a_report_without_just_the_objects_of_a_clip_brings_none(
    studio: Studio, worker: MessageWorker, lie: Callable[[Artifacts], Artifacts]
) -> None:
    order = await worker.take((await submit(studio, await make_creator(studio))).id)
    report = await worker.write(order)
    await accept_report(studio, report.model_copy(update={"artifacts": lie(report.artifacts)}))
    assert (await job_of(studio, order.job_id)).state == "queued"
    attempt = await attempt_of(studio, order.attempt_id)
    assert (attempt.state, attempt.cause) == ("failed", "storage_error")


@pytest.mark.parametrize("fence", [0, 2])
async def test_a_report_of_another_fence_ends_nothing(
    studio: Studio, worker: MessageWorker, fence: int
) -> None:
    order = await worker.take((await submit(studio, await make_creator(studio))).id)
    report = worker.report(order, Outcome.FAILED, cause=FailureCause.BAD_ORDER)
    await accept_report(studio, report.model_copy(update={"fence": fence}))
    assert (await job_of(studio, order.job_id)).state == "assigned"


async def test_a_report_that_names_another_job_of_its_worker_ends_neither(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    first = await worker.take((await submit(studio, creator)).id)
    second = await worker.take((await submit(studio, creator)).id, slot=Slot.NEXT)
    report = worker.report(first, Outcome.FAILED, cause=FailureCause.BAD_ORDER)
    await accept_report(studio, report.model_copy(update={"job_id": second.job_id}))
    async with studio.db.reading() as session:
        assert set(await session.exec(select(Job.state))) == {"assigned"}
        assert set(await session.exec(select(Attempt.state))) == {"ordered"}


async def test_a_heartbeat_of_another_fence_renews_nothing(studio: Studio, worker: MessageWorker) -> None:
    order = await worker.take((await submit(studio, await make_creator(studio))).id)
    before = await attempt_of(studio, order.attempt_id)
    await worker.beat(worker.status(order, 3).model_copy(update={"fence": order.fence + 1}))
    after = await attempt_of(studio, order.attempt_id)
    assert (after.lease_expires_at, after.state, after.seen_at) == (before.lease_expires_at, "ordered", None)


async def test_an_attempt_whose_job_has_a_newer_fence_shows_nothing(
    studio: Studio, worker: MessageWorker
) -> None:
    order = await worker.take((await submit(studio, await make_creator(studio))).id)
    await sql(studio, "UPDATE jobs SET fence = fence + 1")
    await worker.step(order, 3)
    job = await job_of(studio, order.job_id)
    assert (job.state, job.steps_done) == ("assigned", 0)


async def test_no_more_steps_are_shown_than_the_job_has(studio: Studio, worker: MessageWorker) -> None:
    order = await worker.take((await submit(studio, await make_creator(studio))).id)
    await worker.step(order, 10_000)
    job = await job_of(studio, order.job_id)
    assert job.steps_done == job.steps == order.spec.num_inference_steps


async def test_steps_are_shown_of_a_running_job_alone(studio: Studio, worker: MessageWorker) -> None:
    order = await worker.take((await submit(studio, await make_creator(studio))).id)
    await worker.step(order, 1)
    await sql(studio, "UPDATE jobs SET state = 'moderating'")
    await worker.step(order, 3)
    assert (await job_of(studio, order.job_id)).steps_done == 1
    await sql(studio, "UPDATE jobs SET state = 'running'")
