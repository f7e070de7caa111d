"""The life of a job on the real database, with a worker that is only messages."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from backend.auth.principal import Principal, Role
from backend.contracts import CheckpointRef, FailureCause, Outcome, Wish
from backend.db.models import Artifact, Attempt, Job, OutboxRow
from backend.db.repositories import ledger
from backend.domain.artifact import ArtifactKind
from backend.domain.attempt import Slot
from backend.domain.errors import (
    Conflict,
    IdempotencyMismatch,
    InsufficientCredits,
    InvalidField,
    NotFound,
    QueueLimitReached,
)
from backend.domain.generation import JobState
from backend.ids import IdPrefix, new_id
from backend.services.accept_report import accept_report
from backend.services.cancel_generation import cancel_generation
from backend.services.decide_review import apply_decision, decide_review, undo_review
from backend.services.delete_generation import delete_generation
from backend.services.dispatch_generation import NotLeading, dispatch_generation
from backend.services.expire_leases import expire_leases
from backend.services.generation_request import GenerationRequest
from backend.services.get_generation import get_generation
from backend.services.list_generations import Order as ListOrder
from backend.services.list_generations import StateFilter, list_generations
from backend.services.locate_artifact import locate_artifact
from backend.services.moderate_generation import moderate_generation
from backend.services.publish_generation import publish_generation
from backend.services.review_cases import claim_case, list_cases
from backend.services.submit_generation import submit_generation
from backend.services.sweep_generation import sweep_generation
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


async def _balance(studio: Studio, creator: Principal) -> tuple[int, int]:
    async with studio.db.reading() as session:
        return await ledger.balance(session, creator.account_id)


async def _row(studio: Studio, job_id: str) -> Job:
    async with studio.db.reading() as session:
        job = await session.get(Job, job_id)
        assert job is not None
        return job


async def _let_leases_end(studio: Studio) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET lease_expires_at = now() - interval '1 second'"))


async def test_a_good_job_is_charged_its_quote_and_released(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    assert await _balance(studio, creator) == (100 - job.quoted, job.quoted)
    await run_to_end(studio, worker, job.id)
    done = await get_generation(studio, creator, job.id)
    assert (done.state, done.charged, done.released, done.progress, done.phase) == (
        JobState.COMPLETED,
        job.quoted,
        True,
        100,
        "",
    )
    assert await _balance(studio, creator) == (100 - job.quoted, 0)


async def test_publishing_twice_charges_once(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    await run_to_end(studio, worker, job.id)
    await publish_generation(studio, job.id)
    assert await _balance(studio, creator) == (100 - job.quoted, 0)


async def test_too_few_credits_store_and_hold_nothing(studio: Studio) -> None:
    creator = await make_creator(studio, credits=0)
    with pytest.raises(InsufficientCredits):
        await submit(studio, creator)
    assert (await list_generations(studio, creator)).items == ()


@pytest.mark.parametrize(
    ("fields", "param", "named"),
    [
        ({"prompt": "  "}, "prompt", "empty"),
        ({"size": "1x1"}, "size", "288x288"),
        ({"seconds": "99"}, "seconds", "Seconds: 2"),
        ({"model": "sora-2"}, "model", "Models: mini"),
        ({"num_inference_steps": 0}, "num_inference_steps", "from 4 to"),
        ({"seed": -1}, "seed", "from 0 to"),
    ],
)
async def test_a_bad_field_is_named_with_its_valid_values(
    studio: Studio, fields: dict[str, object], param: str, named: str
) -> None:
    creator = await make_creator(studio)
    with pytest.raises(InvalidField, match=named) as caught:
        await submit(studio, creator, **fields)  # type: ignore[arg-type]  # test fields
    assert caught.value.param == param


async def test_the_same_key_gives_the_same_job_and_another_body_is_refused(studio: Studio) -> None:
    creator = await make_creator(studio)
    request = GenerationRequest(prompt="a red circle")
    first = await submit_generation(studio, creator, request, idempotency_key="k")
    again = await submit_generation(studio, creator, request, idempotency_key="k")
    assert again.id == first.id
    with pytest.raises(IdempotencyMismatch):
        await submit_generation(
            studio, creator, GenerationRequest(prompt="a blue circle"), idempotency_key="k"
        )
    assert (await _balance(studio, creator))[1] == first.quoted


async def test_a_hundred_posts_at_once_with_one_key_make_one_job(studio: Studio) -> None:
    creator = await make_creator(studio)
    request = GenerationRequest(prompt="a red circle")
    views = await asyncio.gather(
        *(submit_generation(studio, creator, request, idempotency_key="once") for _ in range(100))
    )
    assert len({view.id for view in views}) == 1
    assert (await _balance(studio, creator))[1] == views[0].quoted


async def test_a_retry_that_overtakes_its_first_try_shares_its_job(studio: Studio) -> None:
    creator = await make_creator(studio)
    request = GenerationRequest(prompt="a red circle")
    job_id = new_id(IdPrefix.VIDEO)
    retry = await submit_generation(studio, creator, request, retried=True, first_tries=(job_id,))
    first = await submit_generation(studio, creator, request, job_id=job_id)
    assert (retry.id, first.id) == (job_id, job_id)
    assert (await _balance(studio, creator))[1] == first.quoted


async def test_a_retry_without_a_key_finds_its_first_job(studio: Studio) -> None:
    creator = await make_creator(studio)
    request = GenerationRequest(prompt="a red circle")
    first = await submit_generation(studio, creator, request)
    assert (await submit_generation(studio, creator, request, retried=True)).id == first.id
    assert (await submit_generation(studio, creator, request)).id != first.id


async def test_the_queue_limit_refuses_and_holds_nothing(studio: Studio) -> None:
    creator = await make_creator(studio, credits=1000, tier="free")
    for _ in range(10):
        await submit(studio, creator)
    held = (await _balance(studio, creator))[1]
    with pytest.raises(QueueLimitReached, match="10 jobs"):
        await submit(studio, creator)
    assert (await _balance(studio, creator))[1] == held


async def test_two_submissions_at_once_cannot_overdraw(studio: Studio) -> None:
    probe = await make_creator(studio)
    price = (await submit(studio, probe)).quoted
    creator = await make_creator(studio, credits=price)
    results = await asyncio.gather(*(submit(studio, creator) for _ in range(8)), return_exceptions=True)
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert await _balance(studio, creator) == (0, price)


async def test_a_lost_worker_gives_its_job_to_the_next_and_progress_never_falls(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 9)
    before = (await get_generation(studio, creator, job.id)).progress
    await _let_leases_end(studio)
    await expire_leases(studio)
    waiting = await get_generation(studio, creator, job.id)
    assert (waiting.state, waiting.progress) == (JobState.QUEUED, before)
    other = MessageWorker(studio, worker_id="w2")
    second = await other.take(job.id)
    assert second.fence == order.fence + 1
    await other.step(second, 2)
    assert (await get_generation(studio, creator, job.id)).progress == before
    await other.finish(second)
    assert (await get_generation(studio, creator, job.id)).state is JobState.MODERATING


async def test_a_worker_that_wakes_up_late_changes_nothing(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 4)
    await _let_leases_end(studio)
    await expire_leases(studio)
    second = await MessageWorker(studio, worker_id="w2").take(job.id)
    wishes = await worker.step(order, 15)
    assert wishes.attempts[order.attempt_id] is Wish.STOP
    await worker.finish(order, content=b"stale")
    row = await _row(studio, job.id)
    assert (row.state, row.fence, row.steps_done) == ("assigned", second.fence, 4)
    async with studio.db.reading() as session:
        assert (await session.exec(select(Artifact).where(Artifact.job_id == job.id))).all() == []


async def test_a_report_beside_the_clip_is_as_good_as_one_received(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 16)
    report = await worker.write(order)
    await studio.storage.put_bytes(order.objects.report.key, report.model_dump_json().encode())
    await _let_leases_end(studio)
    await expire_leases(studio)
    assert (await get_generation(studio, creator, job.id)).state is JobState.MODERATING


async def test_a_worker_started_again_loses_what_it_ran_at_once(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 3)
    worker.boot_id = "boot2"
    await worker.beat()
    assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED


async def test_an_order_that_was_never_seen_survives_a_restart_of_its_worker(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await worker.take(job.id)
    worker.boot_id = "boot2"
    await worker.beat()
    assert (await get_generation(studio, creator, job.id)).state is JobState.ASSIGNED


async def test_a_second_live_attempt_is_impossible(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    one, two = await submit(studio, creator), await submit(studio, creator)
    await worker.take(one.id)
    term = await lead(studio)
    taken = await dispatch_generation(studio, term, job_id=two.id, worker_id="w1", slot=Slot.RUN)
    assert taken is None
    assert (await get_generation(studio, creator, two.id)).state is JobState.QUEUED
    assert await dispatch_generation(studio, term, job_id=one.id, worker_id="w2", slot=Slot.RUN) is None


async def test_a_leader_whose_term_ended_dispatches_nothing(studio: Studio) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    old = await lead(studio, "old")
    await lead(studio, "new")
    with pytest.raises(NotLeading):
        await dispatch_generation(studio, old, job_id=job.id, worker_id="w1", slot=Slot.RUN)
    assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED


async def test_cancelled_before_the_start_costs_nothing(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    cancelled = await cancel_generation(studio, creator, job.id)
    assert (cancelled.state, cancelled.charged) == (JobState.CANCELLED, 0)
    assert await _balance(studio, creator) == (100, 0)


async def test_cancelled_in_mid_run_costs_the_steps_done(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=1000)
    job = await submit(studio, creator, num_inference_steps=400)
    order = await worker.take(job.id)
    await worker.step(order, 100)
    cancelled = await cancel_generation(studio, creator, job.id)
    assert cancelled.charged == job.quoted // 4
    assert await _balance(studio, creator) == (1000 - job.quoted // 4, 0)
    wishes = await worker.step(order, 101)
    assert wishes.attempts[order.attempt_id] is Wish.STOP
    await worker.finish(order)
    assert (await get_generation(studio, creator, job.id)).state is JobState.CANCELLED


async def test_cancelling_again_answers_the_same_and_after_the_end_is_a_conflict(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await cancel_generation(studio, creator, job.id)
    assert (await cancel_generation(studio, creator, job.id)).state is JobState.CANCELLED
    done = await submit(studio, creator)
    await run_to_end(studio, worker, done.id)
    with pytest.raises(Conflict):
        await cancel_generation(studio, creator, done.id)


async def test_failures_of_its_own_end_a_job_at_no_charge(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    await worker.fail(await worker.take(job.id), FailureCause.NOT_A_NUMBER)
    assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED
    await worker.fail(await worker.take(job.id), FailureCause.NOT_A_NUMBER)
    failed = await get_generation(studio, creator, job.id)
    assert (failed.state, failed.error_code, failed.charged) == (JobState.FAILED, "not_a_number", 0)
    assert await _balance(studio, creator) == (100, 0)


async def test_failures_of_workers_do_not_count_against_a_job(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    for _ in range(5):
        await worker.fail(await worker.take(job.id), FailureCause.STORAGE_ERROR)
    assert (await get_generation(studio, creator, job.id)).state is JobState.QUEUED


async def test_a_handed_back_job_goes_on_from_its_checkpoint(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    checkpoint = CheckpointRef(
        key=order.objects.checkpoint_a.key, step=7, sha256="0" * 64, size_bytes=5, identity="same"
    )
    await worker.step(order, 8, checkpoint=checkpoint)
    await accept_report(studio, worker.report(order, Outcome.HANDED_BACK, checkpoint=checkpoint))
    second = await worker.take(job.id)
    assert second.resume is not None
    assert (second.resume.step, second.resume.checkpoint.key) == (7, checkpoint.key)


async def test_a_checkpoint_outside_its_own_attempt_is_not_believed(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    foreign = CheckpointRef(
        key="jobs/video_other/1/checkpoint-a", step=7, sha256="0" * 64, size_bytes=5, identity="same"
    )
    await worker.step(order, 8, checkpoint=foreign)
    assert (await _row(studio, job.id)).checkpoint is None


async def test_a_block_shows_and_charges_nothing(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.BLOCK))
    blocked = await get_generation(studio, creator, job.id)
    assert (blocked.state, blocked.charged, blocked.released) == (JobState.BLOCKED, 0, False)
    assert blocked.error_code == "moderation_blocked"
    assert await _balance(studio, creator) == (100, 0)


async def test_nothing_is_released_without_a_verdict_on_its_very_bytes(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE artifacts SET sha256 = repeat('f', 64) WHERE kind = 'thumbnail'"))
    await publish_generation(studio, job.id)
    failed = await get_generation(studio, creator, job.id)
    assert (failed.state, failed.charged, failed.released) == (JobState.FAILED, 0, False)


async def test_what_a_worker_writes_after_the_verdict_is_neither_released_nor_served(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    early, late = await submit(studio, creator), await submit(studio, creator)
    order = await worker.take(early.id)
    await worker.finish(order)
    await moderate_generation(studio, early.id, judge(Verdict.ALLOW))
    await studio.storage.put_bytes(order.objects.clip.key, b"something else")
    await publish_generation(studio, early.id)
    found = await locate_artifact(studio, creator, early.id, ArtifactKind.VIDEO)
    assert await studio.storage.get_bytes(found.key, limit_bytes=100) == b"clipvideo"

    order = await run_to_end(studio, worker, late.id)
    await studio.storage.put_bytes(order.objects.clip.key, b"something else")
    found = await locate_artifact(studio, creator, late.id, ArtifactKind.VIDEO)
    assert await studio.storage.get_bytes(found.key, limit_bytes=100) == b"clipvideo"
    await sweep_generation(studio, late.id)
    left = [info.key async for info in studio.storage.list_objects(f"jobs/{late.id}/")]
    assert left == []
    assert await studio.storage.get_bytes(found.key, limit_bytes=100) == b"clipvideo"


async def test_bytes_that_changed_in_storage_are_never_judged_nor_charged(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.finish(order)
    await studio.storage.put_bytes(order.objects.clip.key, b"other!!!!")
    await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    waiting = await get_generation(studio, creator, job.id)
    assert (waiting.state, waiting.charged) == (JobState.QUEUED, None)


async def test_a_review_allowed_by_a_human_is_released_after_its_minute(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    moderator = await make_creator(studio, role=Role.MODERATOR)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.REVIEW))
    (case,) = await list_cases(studio, moderator)
    await claim_case(studio, moderator, case.id)
    await decide_review(studio, moderator, case.id, decision="allow", undo=timedelta(0))
    waiting = await get_generation(studio, creator, job.id)
    assert (waiting.state, waiting.released, waiting.preview) == (JobState.IN_REVIEW, False, None)
    await apply_decision(studio, case.id, 1)
    await publish_generation(studio, job.id)
    done = await get_generation(studio, creator, job.id)
    assert (done.state, done.charged, done.released) == (JobState.COMPLETED, job.quoted, True)


async def test_an_allow_that_was_undone_has_no_effect(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    moderator = await make_creator(studio, role=Role.MODERATOR)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.REVIEW))
    (case,) = await list_cases(studio, moderator)
    await decide_review(studio, moderator, case.id, decision="allow")
    await undo_review(studio, moderator, case.id)
    await apply_decision(studio, case.id, 1)
    assert (await get_generation(studio, creator, job.id)).state is JobState.IN_REVIEW
    await decide_review(studio, moderator, case.id, decision="block")
    assert (await get_generation(studio, creator, job.id)).state is JobState.BLOCKED


async def test_two_moderators_never_hold_one_case(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    one = await make_creator(studio, role=Role.MODERATOR)
    two = await make_creator(studio, role=Role.MODERATOR)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.REVIEW))
    (case,) = await list_cases(studio, one)
    await claim_case(studio, one, case.id)
    with pytest.raises(Conflict):
        await claim_case(studio, two, case.id)
    with pytest.raises(Conflict):
        await decide_review(studio, two, case.id, decision="allow")


async def test_a_deleted_job_is_cancelled_hidden_and_swept(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    order = await run_to_end(studio, worker, job.id)
    await delete_generation(studio, creator, job.id)
    with pytest.raises(NotFound):
        await get_generation(studio, creator, job.id)
    await sweep_generation(studio, job.id)
    left = [info.key async for info in studio.storage.list_objects(f"jobs/{order.job_id}/")]
    assert left == []
    running = await submit(studio, creator)
    await worker.step(await worker.take(running.id), 1)
    await delete_generation(studio, creator, running.id)
    assert (await _row(studio, running.id)).state == "cancelled"


async def test_a_job_deleted_between_approval_and_release_is_not_released(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    await delete_generation(studio, creator, job.id)
    await publish_generation(studio, job.id)
    async with studio.db.reading() as session:
        states = set(await session.exec(select(Artifact.state).where(Artifact.job_id == job.id)))
    assert states == {"deleted"}


async def test_another_account_sees_nothing(studio: Studio) -> None:
    creator, stranger = await make_creator(studio), await make_creator(studio)
    job = await submit(studio, creator)
    for call in (get_generation, cancel_generation, delete_generation):
        with pytest.raises(NotFound):
            await call(studio, stranger, job.id)
    assert (await list_generations(studio, stranger)).items == ()


async def test_pages_hold_every_job_once_both_ways(studio: Studio) -> None:
    creator = await make_creator(studio, credits=1000)
    made = [(await submit(studio, creator, prompt=f"a red circle number {n}")).id for n in range(7)]
    for order, expected in ((ListOrder.NEWEST_FIRST, made[::-1]), (ListOrder.OLDEST_FIRST, made)):
        seen: list[str] = []
        after = None
        while True:
            page = await list_generations(studio, creator, after=after, limit=3, order=order)
            seen += [item.id for item in page.items]
            if not page.has_more:
                break
            after = page.items[-1].id
        assert seen == expected


async def test_searches_words_of_prompts_and_filters_by_state(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    star = await submit(studio, creator, prompt="a yellow star growing")
    await submit(studio, creator, prompt="a red circle")
    found = await list_generations(studio, creator, search="star")
    assert [item.id for item in found.items] == [star.id]
    await run_to_end(studio, worker, star.id)
    completed = await list_generations(studio, creator, states=StateFilter.COMPLETED)
    assert [item.id for item in completed.items] == [star.id]


async def test_every_step_leaves_word_for_the_next(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await run_to_end(studio, worker, job.id)
    async with studio.db.reading() as session:
        consumers = list(
            await session.exec(
                select(OutboxRow.consumer).where(OutboxRow.subject == job.id).order_by(col(OutboxRow.id))
            )
        )
        attempts = (await session.exec(select(Attempt).where(Attempt.job_id == job.id))).all()
    assert consumers == ["dispatch", "moderate", "dispatch", "publish", "sweep"]
    assert [attempt.state for attempt in attempts] == ["done"]
