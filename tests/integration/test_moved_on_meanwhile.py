"""Work that was begun on a job which others moved on before it ended: it changes nothing any more."""

import asyncio
import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import select

from backend.auth.principal import Role
from backend.db.models import Artifact, Attempt, AuditEntry, Job
from backend.db.models import Verdict as VerdictRow
from backend.domain.errors import Conflict
from backend.services import publish_generation as publishing
from backend.services.cancel_generation import cancel_generation
from backend.services.decide_review import apply_decision, decide_review, undo_review
from backend.services.fail_damaged_clip import fail_damaged_clip
from backend.services.moderate_generation import ClipFiles, moderate_generation
from backend.services.review_cases import list_cases
from backend.services.screen_input import screen_input
from backend.services.sweep_generation import sweep_generation
from backend.studio import Studio
from moderation.verdict import NotAsOrdered, Ruling, Surface, Verdict
from tests.integration.life_rig import MessageWorker, judge, make_creator, run_to_end, submit
from tests.integration.test_screening import finds, send_with_image


async def artifacts_of(studio: Studio, job_id: str) -> list[Artifact]:
    async with studio.db.reading() as session:
        return list((await session.exec(select(Artifact).where(Artifact.job_id == job_id))).all())


async def approved(studio: Studio) -> str:
    worker = MessageWorker(studio)
    job = await submit(studio, await make_creator(studio))
    order = await worker.take(job.id)
    await worker.finish(order)
    await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    return job.id


async def test_a_clip_that_failed_while_it_was_published_is_not_released(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await approved(studio)
    check = publishing._check_bytes

    async def others_are_quicker(studio: Studio, artifact: Artifact) -> None:
        await check(studio, artifact)
        await fail_damaged_clip(studio, job_id, "found by another")

    monkeypatch.setattr(publishing, "_check_bytes", others_are_quicker)
    await publishing.publish_generation(studio, job_id)
    async with studio.db.reading() as session:
        job = await session.get_one(Job, job_id)
    assert (job.state, job.charged) == ("failed", 0)
    assert {artifact.state for artifact in await artifacts_of(studio, job_id)} == {"withheld"}


@pytest.mark.parametrize("state", ["moderating", "approved"])
async def test_a_sweep_takes_nothing_of_a_job_that_goes_on(studio: Studio, state: str) -> None:
    worker = MessageWorker(studio)
    job = await submit(studio, await make_creator(studio))
    order = await worker.take(job.id)
    await worker.finish(order)
    if state == "approved":
        await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    # What a worker writes beside its clip belongs to the job as long as that goes on.
    await studio.storage.put_bytes(order.objects.clip.key + ".part", b"half a clip")
    await sweep_generation(studio, job.id)
    for artifact in await artifacts_of(studio, job.id):
        kept = await studio.storage.get_bytes(artifact.key, limit_bytes=1000)
        assert hashlib.sha256(kept).hexdigest() == artifact.sha256
    assert await studio.storage.get_bytes(order.objects.clip.key + ".part", limit_bytes=100) == b"half a clip"


async def test_an_allow_that_took_effect_is_not_undone_and_one_that_is_undone_is_written_down(
    studio: Studio,
) -> None:
    moderator = await make_creator(studio, role=Role.MODERATOR)
    worker = MessageWorker(studio)
    job = await submit(studio, await make_creator(studio))
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.REVIEW))
    (case,) = await list_cases(studio, moderator)
    await decide_review(studio, moderator, case.id, decision="allow", undo=timedelta(0))
    await undo_review(studio, moderator, case.id)
    async with studio.db.reading() as session:
        (undone,) = (await session.exec(select(AuditEntry).where(AuditEntry.action == "review.undo"))).all()
    assert (undone.actor_id, undone.subject, undone.detail) == (
        moderator.user_id,
        case.id,
        {"job_id": job.id},
    )
    await decide_review(studio, moderator, case.id, decision="allow", undo=timedelta(0))
    async with studio.db.reading() as session:
        version = (await session.execute(text("SELECT version FROM review_cases"))).scalar_one()
    await apply_decision(studio, case.id, version)
    with pytest.raises(Conflict):
        await undo_review(studio, moderator, case.id)
    async with studio.db.reading() as session:
        assert (await session.get_one(Job, job.id)).state == "approved"


async def test_a_job_that_was_cancelled_while_its_image_was_looked_at_gets_no_verdict(
    studio: Studio,
) -> None:
    creator = await make_creator(studio)
    job_id = await send_with_image(studio, creator)
    loop = asyncio.get_running_loop()

    def late(data: bytes) -> Ruling:
        cancelling = asyncio.run_coroutine_threadsafe(cancel_generation(studio, creator, job_id), loop)
        cancelling.result(timeout=30)
        return finds(Verdict.ALLOW)(data)

    assert await screen_input(studio, job_id, late) is None
    async with studio.db.reading() as session:
        job = await session.get_one(Job, job_id)
        verdicts = (await session.exec(select(VerdictRow).where(VerdictRow.job_id == job_id))).all()
    assert (job.state, job.input_verdict, list(verdicts)) == ("cancelled", "pending", [])


async def test_a_finished_job_is_published_once(studio: Studio) -> None:
    job = await submit(studio, await make_creator(studio))
    await run_to_end(studio, MessageWorker(studio), job.id)
    before = await artifacts_of(studio, job.id)
    await publishing.publish_generation(studio, job.id)
    assert [artifact.expires_at for artifact in await artifacts_of(studio, job.id)] == [
        artifact.expires_at for artifact in before
    ]
    assert {artifact.kind for artifact in before} >= {Surface.VIDEO, Surface.THUMBNAIL}


@pytest.mark.parametrize("late", ["allow", "review", "block", "refuse"])
async def test_a_judge_that_was_overtaken_says_nothing_of_the_next_attempts_clip(
    studio: Studio, late: str
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    first, second = MessageWorker(studio, worker_id="first"), MessageWorker(studio, worker_id="second")
    order = await first.take(job.id)
    await first.finish(order)
    loop = asyncio.get_running_loop()

    async def meanwhile() -> None:
        # Another judge finds other bytes, and the next attempt delivers the very ones that are being judged.
        await studio.storage.put_bytes(order.objects.clip.key, b"changed!!")
        assert await moderate_generation(studio, job.id, judge(Verdict.ALLOW)) is None
        await second.finish(await second.take(job.id))

    def slow(files: ClipFiles) -> Ruling:
        asyncio.run_coroutine_threadsafe(meanwhile(), loop).result(timeout=30)
        if late == "refuse":
            raise NotAsOrdered("the clip of the first attempt")
        return judge(Verdict(late))(files)

    assert await moderate_generation(studio, job.id, slow) is None
    async with studio.db.reading() as session:
        assert (await session.get_one(Job, job.id)).state == "moderating"
        attempts = {row.worker_id: row.state for row in (await session.exec(select(Attempt))).all()}
        judged = (await session.exec(select(VerdictRow).where(VerdictRow.stage == "output"))).all()
    assert (attempts, list(judged)) == ({"first": "failed", "second": "done"}, [])
    await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    await publishing.publish_generation(studio, job.id)
    assert {artifact.state for artifact in await artifacts_of(studio, job.id)} == {"released"}


async def test_a_key_that_a_worker_could_write_to_is_never_released(studio: Studio) -> None:
    job_id = await approved(studio)
    async with studio.db.transaction() as session:
        artifact = (await session.exec(select(Artifact).where(Artifact.kind == "video"))).one()
        judged = artifact.key
        artifact.key = f"jobs/{job_id}/1/clip.mp4"
        session.add(artifact)
    await studio.storage.copy(judged, f"jobs/{job_id}/1/clip.mp4")
    await publishing.publish_generation(studio, job_id)
    async with studio.db.reading() as session:
        assert (await session.get_one(Job, job_id)).state == "failed"
