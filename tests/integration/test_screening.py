"""Nothing that was sent reaches a worker before its verdict: doubtful text, and every image."""

import dataclasses
import hashlib

import pytest
from sqlalchemy import text
from sqlmodel import select

from backend.auth.principal import Principal, Role
from backend.db.models import Job, OutboxRow, ReviewCase
from backend.db.models import Verdict as VerdictRow
from backend.domain.attempt import Slot
from backend.domain.errors import ModerationBlocked
from backend.domain.events import Consumer
from backend.domain.generation import JobState
from backend.services.cancel_generation import cancel_generation
from backend.services.decide_review import apply_decision, decide_review
from backend.services.dispatch_generation import dispatch_generation
from backend.services.generation_request import ConditioningRequest
from backend.services.get_generation import get_generation
from backend.services.review_cases import claim_case, evidence_key, list_cases
from backend.services.screen_input import ImageJudge, screen_input
from backend.studio import Studio
from jobs.moderation_steps import MOST_BEGUN, moderation_steps
from jobs.moderator import make_judges
from jobs.take_step import BegunStep
from moderation.clip_pictures import ClipDecoder
from moderation.fake_classifier import FakeClassifier
from moderation.policy import default_policy
from moderation.verdict import Finding, Ruling, Surface, Verdict
from tests.integration.life_rig import (
    lead,
    make_creator,
    submit,
)

IMAGE = b"the bytes of an image"


def finds(verdict: Verdict, clause: str = "graphic_violence") -> ImageJudge:
    """A judge of images with its mind made up."""
    finding = Finding(clause=clause, score=0.9, threshold=0.5, verdict=verdict, surface=Surface.IMAGE)
    findings = () if verdict is Verdict.ALLOW else (finding,)
    ruling = Ruling(verdict=verdict, findings=findings, policy_version="test", classifier="test")
    return lambda _data: ruling


async def send_with_image(studio: Studio, creator: Principal, prompt: str = "a red circle") -> str:
    """A job that shows an image to its model."""
    await studio.storage.put_bytes("uploads/image.png", IMAGE)
    async with studio.db.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO uploads (id, account_id, user_id, key, sha256, content_type, width, height, size_bytes,"
                " state) VALUES ('up_1', :a, :u, 'uploads/image.png', :sha256, 'image/png', 64, 64, 1, 'stored')"
            ),
            {"a": creator.account_id, "u": creator.user_id, "sha256": hashlib.sha256(IMAGE).hexdigest()},
        )
    return (await submit(studio, creator, prompt, conditioning=(ConditioningRequest(upload_id="up_1"),))).id


async def row_of(studio: Studio, job_id: str) -> Job:
    async with studio.db.reading() as session:
        job = await session.get(Job, job_id)
    assert job is not None
    return job


async def told(studio: Studio, job_id: str) -> list[str]:
    """The consumers that were told of this job."""
    async with studio.db.reading() as session:
        return list(await session.exec(select(OutboxRow.consumer).where(OutboxRow.subject == job_id)))


async def verdicts(studio: Studio) -> set[tuple[str, str, str | None, str]]:
    async with studio.db.reading() as session:
        rows = await session.exec(select(VerdictRow).where(VerdictRow.stage == "input"))
        return {(row.surface, row.sha256, row.upload_id, row.verdict) for row in rows}


async def test_an_image_for_a_real_model_goes_to_a_person_while_the_mini_clip_is_all_there_is(
    studio: Studio,
) -> None:
    job_id = await send_with_image(studio, await make_creator(studio))
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE jobs SET recipe = 'wan-2.2-ti2v-5b'"))
    allowed = dataclasses.replace(finds(Verdict.ALLOW)(IMAGE), classifier="mini_clip/abc")
    assert await screen_input(studio, job_id, lambda _data: allowed) is Verdict.REVIEW
    assert (await row_of(studio, job_id)).input_verdict == "review"


async def test_a_job_with_an_image_waits_for_its_verdict_and_is_dispatched_after_it(studio: Studio) -> None:
    job_id = await send_with_image(studio, await make_creator(studio))
    assert (await row_of(studio, job_id)).input_verdict == "pending"
    assert await told(studio, job_id) == ["screen_input"]
    term = await lead(studio)
    assert await dispatch_generation(studio, term, job_id=job_id, worker_id="w1", slot=Slot.RUN) is None
    seen: list[bytes] = []

    def judge(data: bytes) -> Ruling:
        seen.append(data)
        return finds(Verdict.ALLOW)(data)

    assert await screen_input(studio, job_id, judge) is Verdict.ALLOW
    assert seen == [IMAGE]
    assert await told(studio, job_id) == ["screen_input", "dispatch"]
    order = await dispatch_generation(studio, term, job_id=job_id, worker_id="w1", slot=Slot.RUN)
    assert order is not None
    assert order.spec.conditioning[0].sha256 == hashlib.sha256(IMAGE).hexdigest()
    assert await verdicts(studio) == {
        ("prompt", hashlib.sha256(b"a red circle").hexdigest(), None, "allow"),
        ("image", hashlib.sha256(IMAGE).hexdigest(), "up_1", "allow"),
    }


async def test_an_image_that_is_blocked_ends_the_job_at_no_charge(studio: Studio) -> None:
    creator = await make_creator(studio)
    job_id = await send_with_image(studio, creator)
    assert await screen_input(studio, job_id, finds(Verdict.BLOCK)) is Verdict.BLOCK
    blocked = await get_generation(studio, creator, job_id)
    assert (blocked.state, blocked.charged, blocked.clause) == (JobState.BLOCKED, 0, "graphic_violence")
    assert blocked.error_code == "moderation_blocked"
    assert "dispatch" not in await told(studio, job_id)


async def test_an_image_in_doubt_waits_for_a_person_who_sees_it(studio: Studio) -> None:
    creator = await make_creator(studio)
    moderator = await make_creator(studio, role=Role.MODERATOR)
    job_id = await send_with_image(studio, creator)
    assert await screen_input(studio, job_id, finds(Verdict.REVIEW)) is Verdict.REVIEW
    assert (await row_of(studio, job_id)).input_verdict == "review"
    term = await lead(studio)
    assert await dispatch_generation(studio, term, job_id=job_id, worker_id="w1", slot=Slot.RUN) is None
    (case,) = await list_cases(studio, moderator)
    await claim_case(studio, moderator, case.id)
    assert await evidence_key(studio, moderator, case.id, "up_1") == "uploads/image.png"
    await decide_review(studio, moderator, case.id, decision="allow")
    await apply_decision(studio, case.id, 1)
    assert (await row_of(studio, job_id)).input_verdict == "allow"
    assert "dispatch" in await told(studio, job_id)


async def test_the_gravest_of_several_verdicts_decides(studio: Studio) -> None:
    job_id = await send_with_image(studio, await make_creator(studio), "a farewell letter before a suicide")
    ruling = await screen_input(studio, job_id, finds(Verdict.BLOCK, "csae"))
    assert (ruling, (await row_of(studio, job_id)).clause) == (Verdict.BLOCK, "csae")


async def test_text_that_the_rules_doubt_waits_and_text_that_they_block_is_no_job(studio: Studio) -> None:
    creator = await make_creator(studio)
    with pytest.raises(ModerationBlocked):
        await submit(studio, creator, "a naked child")
    doubtful = await submit(studio, creator, "a farewell letter before a suicide")
    assert doubtful.input_verdict == "pending"
    assert await screen_input(studio, doubtful.id, finds(Verdict.ALLOW)) is Verdict.REVIEW
    assert (await row_of(studio, doubtful.id)).input_verdict == "review"


async def test_screening_twice_gives_one_verdict_and_one_case(studio: Studio) -> None:
    job_id = await send_with_image(studio, await make_creator(studio))
    await screen_input(studio, job_id, finds(Verdict.REVIEW))
    assert await screen_input(studio, job_id, finds(Verdict.ALLOW)) is None
    assert (await row_of(studio, job_id)).input_verdict == "review"
    async with studio.db.reading() as session:
        assert len((await session.exec(select(ReviewCase))).all()) == 1


async def test_a_job_that_was_cancelled_gets_no_verdict(studio: Studio) -> None:
    creator = await make_creator(studio)
    job_id = await send_with_image(studio, creator)
    await cancel_generation(studio, creator, job_id)
    assert await screen_input(studio, job_id, finds(Verdict.BLOCK)) is None
    assert (await row_of(studio, job_id)).state == JobState.CANCELLED
    assert await verdicts(studio) == set()


@pytest.mark.parametrize("gone", ["bytes", "row"])
async def test_a_job_whose_image_is_gone_fails_at_no_charge_instead_of_waiting_for_ever(
    studio: Studio, gone: str
) -> None:
    creator = await make_creator(studio)
    job_id = await send_with_image(studio, creator)
    if gone == "bytes":
        await studio.storage.delete("uploads/image.png")
    else:
        async with studio.db.transaction() as session:
            await session.execute(text("DELETE FROM uploads"))
    assert await screen_input(studio, job_id, finds(Verdict.ALLOW)) is None
    failed = await get_generation(studio, creator, job_id)
    assert (failed.state, failed.charged) == (JobState.FAILED, 0)


@pytest.mark.parametrize("begun", [MOST_BEGUN, MOST_BEGUN + 1])
async def test_an_image_that_ends_whoever_opens_it_goes_to_a_person_unopened(
    studio: Studio, begun: int
) -> None:
    job_id = await send_with_image(studio, await make_creator(studio))
    opened: list[bytes] = []

    def image(data: bytes) -> Ruling:
        opened.append(data)
        return finds(Verdict.ALLOW)(data)

    clip, _image, unopened = make_judges(FakeClassifier(), default_policy(), ClipDecoder())
    steps = moderation_steps(clip, image, unopened)
    await steps[Consumer.SCREEN_INPUT](studio, BegunStep(subject=job_id, payload={}, begun=begun))
    tried_again = begun <= MOST_BEGUN
    assert bool(opened) is tried_again
    assert (await row_of(studio, job_id)).input_verdict == ("allow" if tried_again else "review")
