"""What fell through is found and told again; what is on its way is left alone, so that a finding is always a fault."""

import asyncio

import pytest
from sqlalchemy import text

from backend.auth.principal import Principal, Role
from backend.contracts.arq_queue import open_queues
from backend.db.listen import OutboxBell
from backend.domain.generation import JobState
from backend.ending import end_tasks
from backend.services.cancel_generation import cancel_generation
from backend.services.decide_review import apply_decision, decide_review
from backend.services.delete_generation import delete_generation
from backend.services.find_lost_steps import find_lost_jobs
from backend.services.get_generation import get_generation
from backend.services.moderate_generation import moderate_generation
from backend.services.review_cases import claim_case, list_cases
from backend.services.sweep_generation import sweep_generation
from backend.studio import Studio
from jobs.control import lead_term
from jobs.dispatch import Dispatcher
from jobs.reconcile import reconcile_once
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    lead,
    make_creator,
    run_to_end,
    submit,
)


async def sql(studio: Studio, statement: str) -> list[tuple[object, ...]]:
    async with studio.db.transaction() as session:
        result = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def an_hour_passes(studio: Studio) -> None:
    """For jobs, cases and outbox rows."""
    await sql(
        studio,
        "UPDATE jobs SET created_at = created_at - interval '1 hour', rendered_at = rendered_at - interval '1 hour',"
        " ended_at = ended_at - interval '1 hour'",
    )
    await sql(studio, "UPDATE review_cases SET effective_at = effective_at - interval '1 hour'")
    await sql(studio, "UPDATE outbox SET done_at = done_at - interval '1 hour'")


async def told(studio: Studio) -> list[tuple[object, ...]]:
    """Open outbox rows."""
    return await sql(studio, "SELECT consumer, subject FROM outbox WHERE done_at IS NULL ORDER BY id")


def knows_all(_job_id: str) -> bool:
    return True


def knows_none(_job_id: str) -> bool:
    return False


async def found(studio: Studio) -> int:
    return (await reconcile_once(studio, knows_all))[0]


async def in_review(studio: Studio, worker: MessageWorker, creator: Principal) -> str:
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.REVIEW))
    return job.id


async def test_a_job_that_waits_for_hours_is_no_finding_while_the_leader_knows_it(studio: Studio) -> None:
    await submit(studio, await make_creator(studio))
    await an_hour_passes(studio)
    await sql(studio, "UPDATE outbox SET done_at = now() - interval '1 hour'")
    for _round in range(3):
        assert await found(studio) == 0
        await an_hour_passes(studio)
    assert await told(studio) == []


async def test_a_waiting_job_that_the_leader_does_not_know_is_told_again_once(studio: Studio) -> None:
    job = await submit(studio, await make_creator(studio))
    await an_hour_passes(studio)
    assert (await reconcile_once(studio, knows_none))[0] == 0
    await sql(studio, "DELETE FROM outbox")
    for lost in (1, 0, 0):
        assert (await reconcile_once(studio, knows_none))[0] == lost
    assert await told(studio) == [("dispatch", job.id)]


async def test_a_job_that_was_just_sent_is_not_looked_for_yet(studio: Studio) -> None:
    await submit(studio, await make_creator(studio))
    await sql(studio, "DELETE FROM outbox")
    assert (await reconcile_once(studio, knows_none))[0] == 0


async def test_many_waiting_jobs_are_looked_through_in_parts_and_each_is_reached(studio: Studio) -> None:
    creator = await make_creator(studio, credits=1000)
    jobs = [await submit(studio, creator) for _ in range(7)]
    await an_hour_passes(studio)
    await sql(studio, "DELETE FROM outbox")
    asked: list[str] = []

    def waits(job_id: str) -> bool:
        asked.append(job_id)
        return job_id != jobs[5].id

    mark, rounds = None, 0
    while rounds == 0 or mark is not None:
        _, mark = await find_lost_jobs(studio, waits, after=mark, limit=3)
        rounds += 1
    assert (rounds, asked) == (3, [job.id for job in jobs])
    assert await told(studio) == [("dispatch", jobs[5].id)]


@pytest.mark.parametrize(
    ("state", "consumer"), [("moderating", "moderate"), ("approved", "publish"), ("queued", "screen_input")]
)
async def test_a_job_whose_next_step_nobody_was_told_of_is_told_again_once(
    studio: Studio, worker: MessageWorker, state: str, consumer: str
) -> None:
    job = await submit(studio, await make_creator(studio))
    if state == "queued":
        await sql(studio, "UPDATE jobs SET input_verdict = 'pending'")
    else:
        await worker.finish(await worker.take(job.id))
        if state == "approved":
            await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    await an_hour_passes(studio)
    await sql(studio, "DELETE FROM outbox WHERE consumer <> 'dispatch'")
    await sql(studio, "UPDATE outbox SET done_at = now()")
    assert [await found(studio), await found(studio)] == [1, 0]
    assert await told(studio) == [(consumer, job.id)]


async def test_an_allow_whose_word_was_lost_takes_effect(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    moderator = await make_creator(studio, role=Role.MODERATOR)
    job_id = await in_review(studio, worker, creator)
    (case,) = await list_cases(studio, moderator)
    await claim_case(studio, moderator, case.id)
    await decide_review(studio, moderator, case.id, decision="allow")
    await sql(studio, "DELETE FROM outbox")
    assert await found(studio) == 0
    await an_hour_passes(studio)
    assert [await found(studio), await found(studio)] == [1, 0]
    ((subject, version),) = await sql(
        studio, "SELECT subject, (payload->>'version')::int FROM outbox WHERE consumer = 'apply_decision'"
    )
    assert subject == case.id
    await apply_decision(studio, case.id, int(str(version)))
    assert (await get_generation(studio, creator, job_id)).state is JobState.APPROVED


async def test_bytes_whose_sweep_was_lost_are_swept(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await run_to_end(studio, worker, job.id)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE artifacts SET state = 'expired'"))
        await session.execute(text("DELETE FROM outbox"))
    assert await found(studio) == 0
    await an_hour_passes(studio)
    assert [await found(studio), await found(studio)] == [1, 0]
    assert await told(studio) == [("sweep", job.id)]
    await sweep_generation(studio, job.id)
    await sql(studio, "UPDATE outbox SET done_at = now()")
    assert await found(studio) == 0


async def test_a_studio_that_lost_nothing_gives_no_finding(studio: Studio, worker: MessageWorker) -> None:
    creator = await make_creator(studio, credits=1000)
    done, gone = await submit(studio, creator), await submit(studio, creator)
    await run_to_end(studio, worker, done.id)
    await run_to_end(studio, worker, gone.id)
    await delete_generation(studio, creator, gone.id)
    await cancel_generation(studio, creator, (await submit(studio, creator)).id)
    await in_review(studio, worker, creator)
    await submit(studio, creator)
    await sql(studio, "UPDATE outbox SET done_at = now()")
    for _round in range(3):
        await an_hour_passes(studio)
        assert await found(studio) == 0


async def test_a_leader_knows_what_waits_once_its_queue_is_rebuilt_and_doubts_nothing_before(
    studio: Studio, valkey_url: str
) -> None:
    job = await submit(studio, await make_creator(studio))
    queues = open_queues(valkey_url)
    bell = OutboxBell(studio.db.url, frozenset())
    dispatcher = Dispatcher(studio, await lead(studio), queues, bell)
    assert dispatcher.waits("video_never_heard_of")
    await dispatcher.restore()
    assert (dispatcher.waits(job.id), dispatcher.waits("video_never_heard_of")) == (True, False)
    await queues.aclose()


async def test_who_leads_also_looks_for_what_fell_through_and_knows_what_waits(
    studio: Studio, worker: MessageWorker, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.reconcile.EVERY_S", 0.05)
    creator = await make_creator(studio)
    rendered = await submit(studio, creator)
    await worker.finish(await worker.take(rendered.id))
    await submit(studio, creator)
    await an_hour_passes(studio)
    await sql(studio, "UPDATE outbox SET done_at = now()")
    leading = asyncio.create_task(lead_term(studio, await lead(studio), valkey_url))
    try:
        async with asyncio.timeout(30):
            while not await told(studio):
                await asyncio.sleep(0.02)
        # It looked at the job that waits, too, and left it alone.
        assert await told(studio) == [("moderate", rendered.id)]
    finally:
        assert await end_tasks(leading, within_s=15)
