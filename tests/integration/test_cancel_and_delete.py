"""Callers that race to stop a job, and clips that are thrown away while nobody has judged them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, text
from sqlmodel import select

from backend.auth.principal import Role
from backend.db.models import Job, OutboxRow
from backend.db.repositories import ledger
from backend.domain.errors import Conflict, NotFound
from backend.domain.events import Consumer
from backend.domain.generation import JobState
from backend.domain.object_keys import judged_prefix
from backend.services.cancel_generation import cancel_generation
from backend.services.delete_generation import delete_generation
from backend.services.expire_leases import expire_leases
from backend.services.get_generation import get_generation
from backend.services.get_receipt import get_receipt
from backend.services.locate_artifact import may_be_served
from backend.services.moderate_generation import moderate_generation
from backend.services.publish_generation import publish_generation
from backend.services.review_cases import list_cases
from backend.services.sweep_generation import sweep_generation
from backend.storage import Reader, StorageUnavailable
from backend.storage.local import LocalStorage
from backend.studio import Studio
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    make_creator,
    run_to_end,
    submit,
)


async def test_steps_that_a_crash_lost_are_not_paid(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=1000)
    job = await submit(studio, creator, num_inference_steps=400)
    await worker.step(await worker.take(job.id), 300)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET lease_expires_at = now() - interval '1 second'"))
    assert await expire_leases(studio) == 1
    other = MessageWorker(studio, worker_id="w2")
    await other.step(await other.take(job.id), 100)
    shown = await get_generation(studio, creator, job.id)
    assert (shown.steps_done, shown.stop_steps, shown.stop_cost) == (300, 100, job.quoted // 4)
    assert (await cancel_generation(studio, creator, job.id)).charged == job.quoted // 4
    assert "after 100 of 400 steps" in (await get_receipt(studio, creator, job.id)).why


async def test_a_stop_costs_no_more_than_was_agreed_to(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=1000)
    charged = {}
    for seen in (100, 350, -1):
        job = await submit(studio, creator, num_inference_steps=400)
        order = await worker.take(job.id)
        await worker.step(order, 100)
        agreed = await get_generation(studio, creator, job.id)
        assert (agreed.stop_steps, agreed.stop_cost) == (100, job.quoted // 4)
        await worker.step(order, 300)
        stopped = await cancel_generation(studio, creator, job.id, seen_steps=seen)
        assert (stopped.stop_steps, stopped.stop_cost) == (0, 0)
        charged[seen] = stopped.charged
    assert charged == {100: job.quoted // 4, 350: job.quoted * 3 // 4, -1: 0}


class DeletesNothing(LocalStorage):
    """A store that is away when something is to be deleted."""

    async def delete(self, key: str) -> None:
        raise StorageUnavailable(key)


async def _sweeps_wanted(studio: Studio, job_id: str) -> int:
    wanted = select(func.count()).where(
        OutboxRow.subject == job_id, OutboxRow.consumer == Consumer.SWEEP.value
    )
    async with studio.db.reading() as session:
        return (await session.exec(wanted)).one()


async def _stored(studio: Studio, job_id: str) -> list[str]:
    return [
        info.key
        for prefix in (f"jobs/{job_id}/", judged_prefix(job_id))
        async for info in studio.storage.list_objects(prefix)
    ]


async def test_of_callers_that_race_to_cancel_every_one_is_told_it_is_cancelled(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio, credits=1000)
    for _ in range(6):
        job = await submit(studio, creator, num_inference_steps=400)
        await worker.step(await worker.take(job.id), 100)
        answers = await asyncio.gather(*(cancel_generation(studio, creator, job.id) for _ in range(4)))
        assert {(a.state, a.charged) for a in answers} == {(JobState.CANCELLED, job.quoted // 4)}


async def test_a_rendered_clip_is_too_late_to_cancel_and_says_so(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    with pytest.raises(Conflict, match="rendered and is being checked"):
        await cancel_generation(studio, creator, job.id)
    assert (await get_generation(studio, creator, job.id)).state is JobState.MODERATING


@pytest.mark.parametrize(
    ("verdict", "end", "charged"),
    [
        (Verdict.ALLOW, JobState.COMPLETED, True),
        (Verdict.BLOCK, JobState.BLOCKED, False),
        (Verdict.REVIEW, JobState.CANCELLED, False),
    ],
)
async def test_a_clip_deleted_before_its_verdict_is_charged_only_if_it_could_have_been_shown(
    studio: Studio, worker: MessageWorker, verdict: Verdict, end: JobState, charged: bool
) -> None:
    creator = await make_creator(studio, credits=100)
    moderator = await make_creator(studio, role=Role.MODERATOR)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await delete_generation(studio, creator, job.id)
    with pytest.raises(NotFound):
        await get_generation(studio, creator, job.id)
    await moderate_generation(studio, job.id, judge(verdict))
    await publish_generation(studio, job.id)
    async with studio.db.reading() as session:
        row = await session.get_one(Job, job.id)
        available, held = await ledger.balance(session, creator.account_id)
    paid = job.quoted if charged else 0
    assert (row.state, row.charged, available, held) == (end, paid, 100 - paid, 0)
    assert await list_cases(studio, moderator) == []
    assert not any(
        [
            await may_be_served(studio, key, Reader.BROWSER)
            for key in await _stored(studio, job.id)
            if "judged" in key
        ]
    )
    assert await _sweeps_wanted(studio, job.id) >= 2
    await sweep_generation(studio, job.id)
    kept = await _stored(studio, job.id)
    assert all(key.startswith("judged/") for key in kept)
    assert bool(kept) == (verdict is Verdict.BLOCK), "what was blocked is kept as evidence"


async def test_what_is_withheld_is_served_to_a_moderator_alone_and_what_is_gone_to_nobody(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.REVIEW))
    (key, *_rest) = [key for key in await _stored(studio, job.id) if key.startswith("judged/")]
    readers = (Reader.BROWSER, Reader.WORKER, Reader.MODERATOR)
    for state, served in (
        ("withheld", [False, False, True]),
        ("released", [True, True, True]),
        ("taken_down", [False, False, True]),
        ("deleted", [False, False, False]),
        ("expired", [False, False, False]),
    ):
        async with studio.db.transaction() as session:
            await session.execute(text("UPDATE artifacts SET state = :state"), {"state": state})
        assert [await may_be_served(studio, key, reader) for reader in readers] == served
    assert not await may_be_served(studio, f"judged/{job.id}/video-0.mp4", Reader.MODERATOR)


async def test_a_deleted_clips_bytes_are_gone_when_the_request_is_answered(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await run_to_end(studio, worker, job.id)
    assert await _stored(studio, job.id)
    await delete_generation(studio, creator, job.id)
    assert await _stored(studio, job.id) == []


async def test_a_store_that_is_away_keeps_no_deletion_from_being_done(
    studio: Studio, worker: MessageWorker, tmp_path: Path
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await run_to_end(studio, worker, job.id)
    (served, *_rest) = [key for key in await _stored(studio, job.id) if key.startswith("judged/")]
    assert await may_be_served(studio, served, Reader.BROWSER)

    full = DeletesNothing(tmp_path / "storage", secret=b"s" * 32, worker_url="http://studio")
    await delete_generation(replace(studio, storage=full), creator, job.id)
    assert await _stored(studio, job.id)
    with pytest.raises(NotFound):
        await get_generation(studio, creator, job.id)
    assert not await may_be_served(studio, served, Reader.BROWSER)
