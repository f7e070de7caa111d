"""Figures move where a transition is saved: once each, and not for what was rolled back."""

from collections.abc import Callable
from datetime import timedelta
from math import isnan

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from backend import metrics
from backend.contracts import FailureCause
from backend.db import outbox
from backend.db.engine import Database, after_commit
from backend.db.models import Job
from backend.db.repositories import jobs
from backend.domain.errors import ModerationBlocked
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import JobEvent
from backend.services.accept_report import accept_report
from backend.services.cancel_generation import cancel_generation
from backend.services.measure_studio import measure_studio
from backend.services.moderate_generation import moderate_generation
from backend.studio import Studio
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    make_creator,
    run_to_end,
    submit,
)

Figures = Callable[[], dict[str, float]]


def read(registry: CollectorRegistry) -> dict[str, float]:
    """Every sample but those of the process itself, as `name{label,label}` with values only, short to write."""
    return {
        f"{sample.name.removeprefix('zoetrope_')}{{{','.join(sample.labels.values())}}}": sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith("zoetrope_") and not sample.name.endswith("_bucket")
    }


@pytest.fixture
def moved() -> Figures:
    """What moved since the test began."""
    before = read(metrics.REGISTRY)

    def since() -> dict[str, float]:
        now = read(metrics.REGISTRY)
        return {
            name: value - before.get(name, 0.0) for name, value in now.items() if value != before.get(name, 0)
        }

    return since


async def test_each_step_of_a_jobs_way_is_counted_once(studio: Studio, moved: Figures) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    job = await submit(studio, creator)
    order = await run_to_end(studio, worker, job.id)
    await accept_report(studio, await worker.write(order))
    figures = moved()
    states = ("queued", "assigned", "running", "moderating", "approved", "completed")
    assert {name: value for name, value in figures.items() if name.startswith("job_transitions")} == {
        f"job_transitions_total{{{state},mini,pro}}": 1 for state in states
    }
    assert figures["attempts_total{mini,done}"] == 1
    assert figures["queue_wait_seconds_count{pro,mini}"] == 1
    assert figures["job_duration_seconds_count{pro,mini}"] == 1
    assert (
        0 < figures["queue_wait_seconds_sum{pro,mini}"] < figures["job_duration_seconds_sum{pro,mini}"] < 60
    )
    assert figures["credits_charged_total{pro,mini}"] == job.quoted
    assert figures["moderation_verdicts_total{output,allow,}"] == 1
    assert "stale_reports_total{}" not in figures


async def test_what_was_rolled_back_is_not_counted(studio: Studio, moved: Figures) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    queued = moved()

    async def move_and_fail() -> None:
        async with studio.db.transaction() as session:
            row = await session.get(Job, job.id)
            assert row is not None
            assert await jobs.move(session, row, JobEvent.DISPATCHED)
            raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        await move_and_fail()
    assert moved() == queued


async def test_what_follows_a_commit_sees_it(studio: Studio) -> None:
    seen: list[str] = []
    async with studio.db.transaction() as session:
        after_commit(session, lambda: seen.append("committed"))
        assert seen == []
    assert seen == ["committed"]


async def test_a_failed_attempt_is_lost_time_and_its_credits_come_back(
    studio: Studio, moved: Figures
) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.step(order, 3)
    await worker.fail(order, FailureCause.BAD_ORDER)
    figures = moved()
    assert figures["attempts_total{mini,failed}"] == 1
    assert figures["job_transitions_total{failed,mini,pro}"] == 1
    assert figures["gpu_seconds_total{mini,lost}"] > 0
    assert figures["credits_released_total{pro,failed}"] == job.quoted
    assert "credits_charged_total{pro,mini}" not in figures


async def test_time_of_a_cancelled_attempt_and_its_stale_report_are_told_apart(
    studio: Studio, moved: Figures
) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    lost = await submit(studio, creator)
    order = await worker.take(lost.id)
    await worker.step(order, 1)
    await worker.fail(order, FailureCause.ENGINE_ERROR)
    again = await worker.take(lost.id)
    await worker.step(again, 2)
    await accept_report(studio, await worker.write(order))
    await cancel_generation(studio, creator, lost.id)
    figures = moved()
    assert figures["stale_reports_total{}"] == 1
    assert figures["gpu_seconds_total{mini,cancelled}"] > 0
    assert figures["gpu_seconds_total{mini,lost}"] > 0
    # The wait is the one until the first start, and there was one of these.
    assert figures["queue_wait_seconds_count{pro,mini}"] == 1


async def test_a_prompt_that_the_rules_stop_is_a_refusal_and_a_verdict(
    studio: Studio, moved: Figures
) -> None:
    creator = await make_creator(studio)
    with pytest.raises(ModerationBlocked) as blocked:
        await submit(studio, creator, "a beheading, gore and blood everywhere, isis execution video")
    figures = moved()
    assert figures["submissions_refused_total{moderation_blocked,pro}"] == 1
    assert figures[f"moderation_verdicts_total{{input,block,{blocked.value.clause}}}"] == 1
    assert not [name for name in figures if name.startswith("job_transitions")]


async def test_gauges_say_what_the_database_holds_now(studio: Studio) -> None:
    creator = await make_creator(studio)
    worker = MessageWorker(studio)
    await worker.beat()
    await submit(studio, creator)
    watched = await submit(studio, creator)
    await worker.finish(await worker.take(watched.id))
    await moderate_generation(studio, watched.id, judge(Verdict.REVIEW))
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE workers SET heartbeat_at = now() - interval '4 seconds'"))
        await session.execute(text("DELETE FROM outbox"))
        await outbox.put(session, [OutboxEvent(consumer=Consumer.PUBLISH, subject="due")])
        await outbox.put(session, [OutboxEvent(consumer=Consumer.SWEEP, subject="in an hour", delay_s=3600)])
        await session.execute(text("UPDATE outbox SET created_at = now() - interval '30 seconds'"))
    async with studio.db.transaction() as session:
        # One that was taken, and failed, is due again later: it is still not done.
        await outbox.take(session, Consumer.PUBLISH, limit=1, hidden=timedelta(seconds=60))
    await measure_studio(studio)
    figures = read(metrics.STUDIO)
    assert {name: value for name, value in figures.items() if name.startswith("jobs{")} == {
        "jobs{queued,pro}": 1, "jobs{in_review,pro}": 1,
    }  # fmt: skip
    assert figures["workers{live}"] == 1
    assert 4 <= figures["worker_heartbeat_age_seconds{}"] < 60
    assert figures["outbox_pending{publish}"] == 1
    assert 30 <= figures["outbox_oldest_age_seconds{publish}"] < 90
    assert figures["outbox_pending{sweep}"] == 0
    assert figures["review_cases_open{}"] == 1


async def test_gauges_that_can_t_be_read_are_not_shown_as_they_were(studio: Studio) -> None:
    await make_creator(studio)
    await measure_studio(studio)
    assert read(metrics.STUDIO)["review_cases_open{}"] == 0
    away = Studio(
        settings=studio.settings,
        db=Database("postgresql://nobody@127.0.0.1:1/nowhere"),
        storage=studio.storage,
        wakeups=studio.wakeups,
        clock=studio.clock,
    )
    with pytest.raises(OSError):
        await measure_studio(away)
    figures = read(metrics.STUDIO)
    assert isnan(figures["review_cases_open{}"])
    assert not [name for name in figures if name.startswith(("jobs{", "workers{", "outbox"))]
