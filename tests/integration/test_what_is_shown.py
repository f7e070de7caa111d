"""Nothing is shown before the verdict on exactly its bytes, to nobody, whatever a worker does meanwhile."""

import asyncio
import hashlib
import io
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import text
from sqlmodel import col, select

from backend.auth.principal import Principal, Role
from backend.contracts import PREVIEW_SIDE_PX, Order
from backend.db.models import Artifact, Job, ReviewCase, Verdict
from backend.db.repositories import artifacts
from backend.domain.artifact import ArtifactKind, ArtifactState
from backend.domain.attempt import Slot
from backend.domain.errors import NotFound
from backend.domain.events import Consumer
from backend.domain.generation import JobState
from backend.services.decide_review import apply_decision, decide_review
from backend.services.delete_generation import delete_generation
from backend.services.dispatch_generation import dispatch_generation
from backend.services.fetch_artifact import preview_frame
from backend.services.get_generation import get_generation
from backend.services.locate_artifact import locate_artifact
from backend.services.moderate_generation import ClipFiles, moderate_generation
from backend.services.publish_generation import publish_generation
from backend.services.review_cases import claim_case, evidence_key, list_cases
from backend.studio import Studio
from jobs.moderation_steps import MOST_BEGUN, moderation_steps
from jobs.moderator import make_judges
from jobs.take_step import BegunStep
from moderation.clip_pictures import ClipDecoder
from moderation.fake_classifier import FakeClassifier
from moderation.policy import default_policy
from moderation.verdict import Ruling
from moderation.verdict import Verdict as Decision
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    lead,
    make_creator,
    submit,
)


async def rendered(studio: Studio, worker: MessageWorker, creator: Principal) -> Order:
    """A job that waits for its verdict."""
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 3)
    await worker.finish(order)
    return order


async def keys_of(studio: Studio, job_id: str) -> dict[str, str]:
    async with studio.db.reading() as session:
        rows = await session.exec(select(Artifact).where(Artifact.job_id == job_id))
        return {row.kind: row.key for row in rows}


async def read(studio: Studio, key: str) -> bytes:
    return await studio.storage.get_bytes(key, limit_bytes=1000)


async def test_a_moderator_sees_the_judged_bytes_and_they_are_what_is_released(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    moderator = await make_creator(studio, role=Role.MODERATOR)
    order = await rendered(studio, worker, creator)
    await moderate_generation(studio, order.job_id, judge(Decision.REVIEW))
    await studio.storage.put_bytes(order.objects.clip.key, b"something harmless")
    (case,) = await list_cases(studio, moderator)
    await claim_case(studio, moderator, case.id)
    assert await read(studio, await evidence_key(studio, moderator, case.id, "video")) == b"clipvideo"
    await decide_review(studio, moderator, case.id, decision="allow", undo=timedelta(0))
    await apply_decision(studio, case.id, 1)
    await studio.storage.put_bytes(order.objects.clip.key, b"something worse")
    await publish_generation(studio, order.job_id)
    found = await locate_artifact(studio, creator, order.job_id, ArtifactKind.VIDEO)
    assert await read(studio, found.key) == b"clipvideo"


async def test_the_judge_sees_the_copy_even_while_its_worker_writes_again(
    studio: Studio, worker: MessageWorker
) -> None:
    order = await rendered(studio, worker, await make_creator(studio))
    seen: list[bytes] = []
    mine = Path(studio.settings.storage_url) / order.objects.clip.key

    def careful(files: ClipFiles) -> Ruling:
        mine.write_bytes(b"written under the judge's nose")
        seen.append(files.video.read_bytes())
        return judge(Decision.ALLOW)(files)

    await moderate_generation(studio, order.job_id, careful)
    kept = (await keys_of(studio, order.job_id))["video"]
    assert (seen, await read(studio, kept)) == ([b"clipvideo"], b"clipvideo")


async def test_no_key_that_is_shown_is_one_that_a_worker_can_write_to(
    studio: Studio, worker: MessageWorker
) -> None:
    order = await rendered(studio, worker, await make_creator(studio))
    writable = {signed.key for _name, signed in order.objects}
    assert set((await keys_of(studio, order.job_id)).values()) <= writable
    await moderate_generation(studio, order.job_id, judge(Decision.ALLOW))
    assert not set((await keys_of(studio, order.job_id)).values()) & writable


async def test_bytes_without_a_verdict_of_their_own_are_never_released(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    order = await rendered(studio, worker, creator)
    await moderate_generation(studio, order.job_id, judge(Decision.ALLOW))
    # Object and row agree with each other; only the verdict is on other bytes.
    other = b"never judged"
    await studio.storage.put_bytes((await keys_of(studio, order.job_id))["thumbnail"], other)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE artifacts SET sha256 = :sha256 WHERE kind = 'thumbnail'"),
            {"sha256": hashlib.sha256(other).hexdigest()},
        )
    await publish_generation(studio, order.job_id)
    failed = await get_generation(studio, creator, order.job_id)
    assert (failed.state, failed.charged, failed.released) == (JobState.FAILED, 0, False)


async def test_judged_bytes_that_changed_in_storage_are_never_released(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    order = await rendered(studio, worker, creator)
    await moderate_generation(studio, order.job_id, judge(Decision.ALLOW))
    await studio.storage.put_bytes((await keys_of(studio, order.job_id))["spritesheet"], b"rotten")
    await publish_generation(studio, order.job_id)
    failed = await get_generation(studio, creator, order.job_id)
    assert (failed.state, failed.charged, failed.released) == (JobState.FAILED, 0, False)


async def test_a_job_that_moved_on_while_it_was_judged_gets_no_verdict(
    studio: Studio, worker: MessageWorker
) -> None:
    order = await rendered(studio, worker, await make_creator(studio))

    async def taken_by_another_judge() -> None:
        await moderate_generation(studio, order.job_id, judge(Decision.BLOCK))

    late = LateJudge(taken_by_another_judge)
    assert await moderate_generation(studio, order.job_id, late.judge) is None
    async with studio.db.reading() as session:
        verdicts = set(await session.exec(select(Verdict.verdict).where(Verdict.job_id == order.job_id)))
        cases = (await session.exec(select(ReviewCase))).all()
    assert (verdicts, cases) == ({"block"}, [])


class LateJudge:
    """Allows, after something else happened on the event loop."""

    def __init__(self, meanwhile: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._meanwhile = meanwhile

    def judge(self, files: ClipFiles) -> Ruling:
        asyncio.run_coroutine_threadsafe(self._meanwhile(), self._loop).result(timeout=30)
        return judge(Decision.ALLOW)(files)


async def test_a_deleted_clip_is_never_released(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    order = await rendered(studio, worker, creator)
    await moderate_generation(studio, order.job_id, judge(Decision.ALLOW))
    await delete_generation(studio, creator, order.job_id)
    await publish_generation(studio, order.job_id)
    async with studio.db.reading() as session:
        states = set(await session.exec(select(Artifact.state).where(Artifact.job_id == order.job_id)))
    assert states == {ArtifactState.DELETED}


@pytest.mark.parametrize("end", [ArtifactState.DELETED, ArtifactState.EXPIRED])
async def test_an_artifact_that_ended_is_never_released_again(
    studio: Studio, worker: MessageWorker, end: ArtifactState
) -> None:
    order = await rendered(studio, worker, await make_creator(studio))
    of_job = col(Artifact.job_id) == order.job_id
    async with studio.db.transaction() as session:
        assert await artifacts.move(session, end, of_job) == 3
        assert await artifacts.move(session, ArtifactState.RELEASED, of_job) == 0


@pytest.mark.parametrize("verdict", ["pending", "review", "block"])
async def test_a_job_without_an_allowing_input_verdict_is_never_dispatched(
    studio: Studio, verdict: str
) -> None:
    job = await submit(studio, await make_creator(studio))
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE jobs SET input_verdict = :v"), {"v": verdict})
    term = await lead(studio)
    assert await dispatch_generation(studio, term, job_id=job.id, worker_id="w1", slot=Slot.RUN) is None
    async with studio.db.reading() as session:
        assert await session.scalar(select(Job.state).where(Job.id == job.id)) == JobState.QUEUED


def picture(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (200, 30, 30)).save(out, "WEBP")
    return out.getvalue()


async def test_a_preview_is_shown_while_it_renders_and_never_once_a_person_looks_or_it_ended(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await studio.storage.put_bytes(order.objects.preview.key, picture(PREVIEW_SIDE_PX))
    await worker.step(order, 3, preview=1)
    assert await preview_frame(studio, creator, job.id) == picture(PREVIEW_SIDE_PX)
    assert (await get_generation(studio, creator, job.id)).preview == "1-1"
    await worker.finish(order)
    assert await preview_frame(studio, creator, job.id)
    for verdict, state in ((Decision.REVIEW, JobState.IN_REVIEW), (Decision.BLOCK, JobState.BLOCKED)):
        async with studio.db.transaction() as session:
            await session.execute(text("UPDATE jobs SET state = 'moderating'"))
        await moderate_generation(studio, job.id, judge(verdict))
        shown = await get_generation(studio, creator, job.id)
        assert (shown.state, shown.preview) == (state, None)
        with pytest.raises(NotFound):
            await preview_frame(studio, creator, job.id)


@pytest.mark.parametrize("state", ["running", "in_review"])
@pytest.mark.parametrize("large", [picture(PREVIEW_SIDE_PX + 1), b"no picture", b"RIFF\0\0\0\0WEBP"])
async def test_a_preview_that_is_too_large_or_none_is_refused_whoever_wrote_it(
    studio: Studio, worker: MessageWorker, state: str, large: bytes
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await studio.storage.put_bytes(order.objects.preview.key, large)
    await worker.step(order, 3, preview=1)
    if state == "in_review":
        await worker.finish(order)
        await moderate_generation(studio, job.id, judge(Decision.REVIEW))
    with pytest.raises(NotFound):
        await preview_frame(studio, creator, job.id)


@pytest.mark.parametrize("begun", [MOST_BEGUN, MOST_BEGUN + 1])
async def test_a_clip_that_ends_whoever_opens_it_goes_to_a_person_unopened(
    studio: Studio, worker: MessageWorker, begun: int
) -> None:
    order = await rendered(studio, worker, await make_creator(studio))
    opened: list[ClipFiles] = []

    def clip(files: ClipFiles) -> Ruling:
        opened.append(files)
        return judge(Decision.ALLOW)(files)

    _clip, image, unopened = make_judges(FakeClassifier(), default_policy(), ClipDecoder())
    steps = moderation_steps(clip, image, unopened)
    await steps[Consumer.MODERATE](studio, BegunStep(subject=order.job_id, payload={}, begun=begun))
    tried_again = begun <= MOST_BEGUN
    assert bool(opened) is tried_again
    async with studio.db.reading() as session:
        job = await session.get_one(Job, order.job_id)
    assert job.state == ("approved" if tried_again else "in_review")
