"""Bytes end: shown clips by retention, evidence after its time, and whatever else an ended job left, at its end."""

import pytest
from sqlalchemy import text
from sqlmodel import select

from backend.auth.principal import Principal
from backend.contracts import FailureCause, Order
from backend.db.models import Artifact, Job, OutboxRow
from backend.domain.artifact import ArtifactKind
from backend.domain.errors import NotFound
from backend.domain.generation import JobState
from backend.services.cancel_generation import cancel_generation
from backend.services.delete_generation import delete_generation
from backend.services.expire_artifacts import expire_artifacts
from backend.services.get_generation import get_generation
from backend.services.locate_artifact import locate_artifact
from backend.services.moderate_generation import moderate_generation
from backend.services.publish_generation import publish_generation
from backend.services.screen_input import block_input
from backend.services.sweep_ended_jobs import LAST_SWEEP_S, sweep_ended_jobs
from backend.services.sweep_generation import sweep_generation
from backend.storage import StorageUnavailable
from backend.studio import Studio
from jobs.expire import expire_once
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    make_creator,
    run_to_end,
    submit,
)


async def sql(studio: Studio, statement: str, **values: object) -> list[tuple[object, ...]]:
    async with studio.db.transaction() as session:
        result = await session.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


async def objects_of(studio: Studio, job_id: str) -> set[str]:
    """What lies in storage of a job, without its folder."""
    found = set()
    for folder in ("jobs", "judged"):
        async for info in studio.storage.list_objects(f"{folder}/{job_id}/"):
            found.add(f"{folder}/{info.key.rpartition('/')[2]}")
    return found


async def rendered(studio: Studio, worker: MessageWorker, creator: Principal) -> Order:
    """A job that waits for its verdict, with a preview and a checkpoint of its attempt in storage."""
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    for signed in (order.objects.preview, order.objects.checkpoint_a):
        await studio.storage.put_bytes(signed.key, b"x")
    await worker.step(order, 3, preview=1)
    await worker.finish(order)
    return order


async def asked_to_sweep(studio: Studio, job_id: str) -> int:
    """Open requests to sweep this job."""
    (row,) = await sql(
        studio,
        "SELECT count(*) FROM outbox WHERE consumer = 'sweep' AND subject = :id AND done_at IS NULL",
        id=job_id,
    )
    return int(str(row[0]))


async def test_three_hundred_expired_clips_end_in_rounds_and_each_is_swept_once(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    kept = await submit(studio, creator)
    await run_to_end(studio, worker, kept.id)
    columns = [
        str(row[0])
        for row in await sql(
            studio, "SELECT column_name FROM information_schema.columns WHERE table_name = 'jobs'"
        )
        if row[0] != "id"
    ]
    await sql(
        studio,
        f"INSERT INTO jobs (id, {', '.join(columns)})"
        f" SELECT 'video_' || n, {', '.join(columns)} FROM jobs, generate_series(1, 300) n",
    )
    await sql(
        studio,
        "INSERT INTO artifacts (id, job_id, kind, fence, key, sha256, size_bytes, content_type, fps, duration_s,"
        " state, expires_at) SELECT 'art_' || n, 'video_' || n, 'video', 1, 'k', 's', 1, 'video/mp4', 8, 2,"
        " 'released', now() - n * interval '1 minute' FROM generate_series(1, 300) n",
    )
    more = [await expire_artifacts(studio, limit=100) for _round in range(4)]
    assert more == [True, True, True, False]
    states = await sql(studio, "SELECT state, count(*) FROM artifacts GROUP BY 1 ORDER BY 1")
    assert states == [("expired", 300), ("released", 3)]
    swept = await sql(
        studio,
        "SELECT count(*), count(DISTINCT subject) FROM outbox WHERE consumer = 'sweep' AND subject <> :id",
        id=kept.id,
    )
    assert swept == [(300, 300)]
    await sql(studio, "DELETE FROM artifacts WHERE id LIKE 'art\\_%' AND length(id) < 9")
    await sql(studio, "DELETE FROM jobs WHERE length(id) < 12")


async def test_looking_for_expired_clips_reads_an_index_and_no_table(studio: Studio) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await session.execute(
            text(
                "EXPLAIN SELECT id FROM artifacts WHERE expires_at < now()"
                " AND state IN ('withheld','released','taken_down') ORDER BY expires_at LIMIT 600"
            )
        )
        assert "artifacts_expiring" in "\n".join(row[0] for row in plan)


async def test_a_clip_past_its_retention_is_served_no_more_and_its_bytes_go(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    await run_to_end(studio, worker, job.id)
    assert (await get_generation(studio, creator, job.id)).expires_at is not None
    await sql(studio, "UPDATE artifacts SET expires_at = now() - interval '1 second'")
    await expire_once(studio)
    with pytest.raises(NotFound, match="expired"):
        await locate_artifact(studio, creator, job.id, ArtifactKind.VIDEO)
    await sweep_generation(studio, job.id)
    assert await objects_of(studio, job.id) == set()
    assert await sql(studio, "SELECT count(*) FROM artifacts WHERE swept_at IS NULL") == [(0,)]


async def test_what_was_blocked_is_kept_as_evidence_for_its_time_and_nothing_beside_it(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    order = await rendered(studio, worker, creator)
    await moderate_generation(studio, order.job_id, judge(Verdict.BLOCK))
    await sweep_generation(studio, order.job_id)
    evidence = await objects_of(studio, order.job_id)
    assert {key.partition("-")[0] for key in evidence} == {
        "judged/video",
        "judged/thumbnail",
        "judged/spritesheet",
    }
    assert (await get_generation(studio, creator, order.job_id)).expires_at is None
    # Its owner throws the job away; the evidence is not the owner's to destroy.
    await delete_generation(studio, creator, order.job_id)
    assert await objects_of(studio, order.job_id) == evidence
    kept_for = studio.settings.evidence_kept
    (row,) = await sql(
        studio,
        "SELECT bool_and(expires_at BETWEEN now() + :kept - interval '1 minute' AND now() + :kept)"
        " FROM artifacts",
        kept=kept_for,
    )
    assert row == (True,)
    await sql(studio, "UPDATE artifacts SET expires_at = now() - interval '1 second'")
    await expire_once(studio)
    await sweep_generation(studio, order.job_id)
    assert await objects_of(studio, order.job_id) == set()


async def end_by(studio: Studio, worker: MessageWorker, creator: Principal, way: str) -> str:
    """A job that ended in this way, with bytes in storage wherever it got so far."""
    if way == "blocked input":
        job = await submit(studio, creator)
        async with studio.db.transaction() as session:
            row = await session.get(Job, job.id, with_for_update=True)
            assert row is not None
            assert await block_input(session, row, "csae")
        return job.id
    if way in ("failed in mid-run", "cancelled in mid-run"):
        job = await submit(studio, creator)
        order = await worker.take(job.id)
        await studio.storage.put_bytes(order.objects.checkpoint_a.key, b"x")
        await worker.step(order, 2)
        if way.startswith("cancelled"):
            await cancel_generation(studio, creator, job.id)
        else:
            await worker.fail(order, FailureCause.BAD_INPUT)
        return job.id
    order = await rendered(studio, worker, creator)
    match way:
        case "completed":
            await moderate_generation(studio, order.job_id, judge(Verdict.ALLOW))
            await publish_generation(studio, order.job_id)
        case "blocked":
            await moderate_generation(studio, order.job_id, judge(Verdict.BLOCK))
        case "cancelled in review":
            await moderate_generation(studio, order.job_id, judge(Verdict.REVIEW))
            await cancel_generation(studio, creator, order.job_id)
        case "damaged":
            await moderate_generation(studio, order.job_id, judge(Verdict.ALLOW))
            async with studio.db.reading() as session:
                query = select(Artifact.key).where(Artifact.job_id == order.job_id, Artifact.kind == "video")
                judged = (await session.exec(query)).one()
            await studio.storage.put_bytes(judged, b"other!!!!")
            await publish_generation(studio, order.job_id)
    return order.job_id


@pytest.mark.parametrize(
    ("way", "state", "left"),
    [
        ("completed", JobState.COMPLETED, 3),
        ("blocked", JobState.BLOCKED, 3),
        ("blocked input", JobState.BLOCKED, 0),
        ("failed in mid-run", JobState.FAILED, 0),
        ("damaged", JobState.FAILED, 0),
        ("cancelled in mid-run", JobState.CANCELLED, 0),
        ("cancelled in review", JobState.CANCELLED, 0),
    ],
)
async def test_every_end_leaves_word_to_sweep_and_the_sweep_leaves_what_is_shown_or_evidence(
    studio: Studio, worker: MessageWorker, way: str, state: JobState, left: int
) -> None:
    job_id = await end_by(studio, worker, await make_creator(studio), way)
    async with studio.db.reading() as session:
        assert await session.scalar(select(Job.state).where(Job.id == job_id)) == state
    assert await asked_to_sweep(studio, job_id) == 1
    await sweep_generation(studio, job_id)
    assert len(await objects_of(studio, job_id)) == left


async def test_what_a_worker_writes_after_the_first_sweep_goes_with_the_last(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    order = await rendered(studio, worker, creator)
    await moderate_generation(studio, order.job_id, judge(Verdict.ALLOW))
    await publish_generation(studio, order.job_id)
    await sweep_generation(studio, order.job_id)
    await sql(studio, "UPDATE outbox SET done_at = now()")
    await studio.storage.put_bytes(order.objects.clip.key, b"late")
    await sweep_ended_jobs(studio)
    assert await asked_to_sweep(studio, order.job_id) == 0
    await sql(
        studio, "UPDATE jobs SET ended_at = now() - make_interval(secs => :s)", s=float(LAST_SWEEP_S + 1)
    )
    for _round in range(2):
        await sweep_ended_jobs(studio)
        assert await asked_to_sweep(studio, order.job_id) == 1
    await sweep_generation(studio, order.job_id)
    assert {key.partition("/")[0] for key in await objects_of(studio, order.job_id)} == {"judged"}
    await sql(studio, "UPDATE outbox SET done_at = now()")
    await expire_once(studio)
    assert await asked_to_sweep(studio, order.job_id) == 0


async def test_more_ended_jobs_than_a_batch_are_all_swept(studio: Studio) -> None:
    creator = await make_creator(studio, credits=1000)
    for _ in range(5):
        await cancel_generation(studio, creator, (await submit(studio, creator)).id)
    await sql(studio, "DELETE FROM outbox")
    await sql(studio, "UPDATE jobs SET ended_at = now() - interval '1 day'")
    assert [await sweep_ended_jobs(studio, limit=2) for _round in range(3)] == [True, True, False]
    async with studio.db.reading() as session:
        swept = list(await session.exec(select(OutboxRow.subject).where(OutboxRow.consumer == "sweep")))
    assert len(swept) == len(set(swept)) == 5


async def test_a_bucket_that_is_away_keeps_no_other_chore_waiting(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator = await make_creator(studio)
    await submit(studio, creator)
    await sql(studio, "UPDATE outbox SET done_at = now() - interval '3 days'")
    await sql(
        studio,
        "INSERT INTO uploads (id, account_id, user_id, key, sha256, content_type, width, height, size_bytes, state,"
        " touched_at) VALUES ('up_1', :a, :u, 'uploads/x.png', 'x', 'image/png', 64, 64, 1, 'stored',"
        " now() - interval '1 year')",
        a=creator.account_id,
        u=creator.user_id,
    )
    refused = 0

    async def away(_key: str) -> None:
        nonlocal refused
        refused += 1
        raise StorageUnavailable("the bucket is away")

    monkeypatch.setattr(studio.storage, "delete", away)
    assert await expire_once(studio)
    assert refused
    async with studio.db.reading() as session:
        assert list(await session.exec(select(OutboxRow.id))) == []
