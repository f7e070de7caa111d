"""A worker that has reported, before a control plane that is slow to listen: no second render."""

import pytest
from sqlalchemy import text

from backend.contracts import AttemptPhase, AttemptStatus, CheckpointRef, Order
from backend.domain.generation import JobState
from backend.services.accept_report import accept_report
from backend.services.drop_checkpoints import drop_checkpoints
from backend.services.expire_leases import expire_leases
from backend.services.get_generation import get_generation
from backend.studio import Studio
from tests.integration.life_rig import (
    MessageWorker,
    make_creator,
    submit,
)


def reported(worker: MessageWorker, order: Order) -> AttemptStatus:
    steps = order.spec.num_inference_steps
    return worker.status(order, steps).model_copy(update={"phase": AttemptPhase.REPORTED})


async def lease_ends(studio: Studio) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET lease_expires_at = now() - interval '1 second'"))


async def test_being_named_as_reported_keeps_the_lease_until_the_report_is_taken(studio: Studio) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 5)
    report = await worker.write(order)
    for _ in range(3):
        await lease_ends(studio)
        wishes = await worker.beat(reported(worker, order))
        assert wishes.acknowledged == ()
        assert await expire_leases(studio) == 0
    assert (await get_generation(studio, creator, job.id)).state is JobState.RUNNING
    await accept_report(studio, report)
    assert (await worker.beat(reported(worker, order))).acknowledged == (order.attempt_id,)
    assert (await get_generation(studio, creator, job.id)).state is JobState.MODERATING


async def test_one_that_is_named_no_more_loses_it(studio: Studio) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.beat(reported(worker, order))
    await lease_ends(studio)
    await worker.beat()
    assert await expire_leases(studio) == 1
    assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED


@pytest.mark.parametrize(
    "wrong",
    [
        {"fence": 99},
        {"worker_id": "stranger"},
        {"job_id": "video_other"},
        {"attempt_id": "attempt_other"},
        {"steps_done": 2**40},
        {"identity": "a\x00b"},
        {"artifacts": "a key that leads out"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_report_that_cannot_be_taken_counts_as_none_and_holds_up_no_other(
    studio: Studio, wrong: dict[str, object]
) -> None:
    creator = await make_creator(studio)
    bad, good = MessageWorker(studio), MessageWorker(studio, worker_id="w2")
    jobs = [(await submit(studio, creator)).id for _ in range(2)]
    orders = [await bad.take(jobs[0]), await good.take(jobs[1])]
    for worker, order in zip((bad, good), orders, strict=True):
        await worker.step(order, 5)
    report = await bad.write(orders[0])
    if "artifacts" in wrong:
        key = orders[0].objects.clip.key.rpartition("/")[0] + "/../../elsewhere"
        wrong = {"artifacts": (report.artifacts[0].model_copy(update={"key": key}), *report.artifacts[1:])}
    await studio.storage.put_bytes(
        orders[0].objects.report.key, report.model_copy(update=wrong).model_dump_json().encode()
    )
    await lease_ends(studio)
    assert await expire_leases(studio) == 2
    states = [(await get_generation(studio, creator, job_id)).state for job_id in jobs]
    assert states == [JobState.QUEUED, JobState.QUEUED]
    assert await expire_leases(studio) == 0


async def test_the_copy_of_a_silent_workers_checkpoint_goes_with_the_next_one_and_with_its_tiers_time(
    studio: Studio,
) -> None:
    creator = await make_creator(studio, tier="free")
    job = await submit(studio, creator)
    for number, step in enumerate((3, 6)):
        worker = MessageWorker(studio, worker_id=f"w{number}")
        order = await worker.take(job.id)
        key = order.objects.checkpoint_a.key
        await studio.storage.put_bytes(key, b"latents")
        kept = CheckpointRef(key=key, sha256=f"{number}" * 64, size_bytes=7, step=step, identity="x")
        await worker.step(order, step, checkpoint=kept)
        await lease_ends(studio)
        assert await expire_leases(studio) == 1
        assert await copies(studio, job.id) == [f"jobs/{job.id}/kept/{order.fence}-{step}"]
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET ended_at = now() - interval '400 days'"))
    assert await drop_checkpoints(studio) == 1
    assert await copies(studio, job.id) == []


async def copies(studio: Studio, job_id: str) -> list[str]:
    found = [info.key async for info in studio.storage.list_objects(f"jobs/{job_id}/")]
    return [key for key in found if "/kept/" in key]
