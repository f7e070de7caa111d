"""A GPU host is not trusted: whatever it writes with its Valkey password costs itself and no other worker."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis
from redis.exceptions import NoPermissionError
from sqlalchemy import text
from sqlmodel import col, select

from backend.clock import SystemClock
from backend.contracts import AttemptStatus, CheckpointRef, Heartbeat, Mailbox, Outcome, Report
from backend.contracts.wire import MAX_UPLINK_BYTES, UPLINK_FIELD, UPLINK_MAXLEN, WORKERS_KEY
from backend.db.engine import Database
from backend.db.models import Artifact, Attempt, AuditEntry, Job, Worker
from backend.domain.attempt import Cause
from backend.domain.errors import NotFound
from backend.domain.quarantine import Takes
from backend.domain.retry import MAX_FAILED_ATTEMPTS
from backend.ending import end_tasks
from backend.services import accept_heartbeat
from backend.services.accept_heartbeat import WorkerRemoved
from backend.services.accept_report import accept_report
from backend.services.add_worker import WorkerPass, add_worker, admit_worker, remove_worker
from backend.services.delete_generation import delete_generation
from backend.services.get_generation import get_generation
from backend.services.judge_worker import judge_resting_workers, read_standings
from backend.services.moderate_generation import ClipFiles, moderate_generation
from backend.services.publish_generation import publish_generation
from backend.studio import Studio
from backend.wakeups import connect
from jobs.collect import Collector
from jobs.hearing import Hearing
from moderation.verdict import NotAsOrdered, Ruling, Verdict
from tests.integration.life_rig import (
    MessageWorker,
    empty,
    judge,
    ledger_is_sound,
    make_creator,
    open_test_studio,
    run_to_end,
    submit,
)

EVIL = "evil-1"
Evil = Callable[..., Any]


class WatchedHearing(Hearing):
    """Counts how often the collector could not hear."""

    deaf_times = 0

    def deaf(self) -> None:
        self.deaf_times += 1
        super().deaf()


@dataclass
class Listening:
    """A collector at work, and whom it heard."""

    studio: Studio
    hearing: WatchedHearing
    heard: dict[str, int] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def hears(self, worker: MessageWorker) -> None:
        """Wait until the next heartbeat of this worker was recorded."""
        before = self.heard.get(worker.worker_id, 0)
        async with asyncio.timeout(20):
            while self.heard.get(worker.worker_id, 0) == before:
                self.news.clear()
                await self.say(worker.heartbeat())
                await _once(self.news, 0.1)

    async def say(self, message: Heartbeat | Report) -> None:
        redis = self.studio.wakeups.redis
        await redis.sadd(WORKERS_KEY, message.worker_id)
        await redis.xadd(Mailbox(message.worker_id).uplink, {UPLINK_FIELD: message.model_dump_json()})


async def _once(news: asyncio.Event, within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await news.wait()


@pytest.fixture
async def studio(db: Database, valkey_url: str, tmp_path: Path) -> AsyncIterator[Studio]:
    await empty(db)
    made = open_test_studio(db, valkey_url, tmp_path)
    yield made
    await made.wakeups.redis.execute_command("ACL", "DELUSER", "zoetrope-worker-" + EVIL)
    await made.wakeups.redis.flushall()
    await made.wakeups.close()


@pytest.fixture
async def evil(studio: Studio, valkey_url: str) -> AsyncIterator[sync_redis.Redis]:
    """What somebody has who took over a GPU host."""
    made = await add_worker(studio, EVIL)
    client = sync_redis.Redis.from_url(_url_as(valkey_url, made))
    yield client
    client.close()


def _url_as(url: str, made: WorkerPass) -> str:
    return url.replace("unix://", f"unix://{made.user}:{made.password}@")


@asynccontextmanager
async def _listening(studio: Studio, valkey_url: str) -> AsyncIterator[Listening]:
    redis, listening = connect(valkey_url), Listening(studio, WatchedHearing(SystemClock()))

    async def saw(heartbeat: Heartbeat) -> None:
        listening.heard[heartbeat.worker_id] = listening.heard.get(heartbeat.worker_id, 0) + 1
        listening.news.set()

    collecting = asyncio.create_task(Collector(studio, redis, listening.hearing, saw).run())
    try:
        yield listening
        assert not collecting.done()
    finally:
        assert await end_tasks(collecting, within_s=10)
        await redis.aclose()


async def _completes(listening: Listening, worker: MessageWorker) -> None:
    """A job of this worker, from its first step to the clip, all said over Valkey."""
    studio = listening.studio
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await listening.hears(worker)
    report = await worker.write(order)
    async with asyncio.timeout(20):
        while (await get_generation(studio, creator, job.id)).state != "moderating":
            await listening.say(worker.heartbeat(worker.status(order, 3)))
            await listening.say(report)
            listening.news.clear()
            await _once(listening.news, 0.1)
    await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    await publish_generation(studio, job.id)
    assert (await get_generation(studio, creator, job.id)).state == "completed"


def _heartbeat(**fields: object) -> str:
    given = {
        "kind": "heartbeat", "worker_id": EVIL, "boot_id": "b", "seq": 1, "version": "v",
        "hardware": {"hardware_class": "h", "device": "cpu", "memory_gb": 1}, "recipes": ["mini"], **fields,
    }  # fmt: skip
    return json.dumps(given)


def _status(**fields: object) -> dict[str, object]:
    return {"attempt_id": "a", "job_id": "j", "fence": 1, "phase": "denoising", **fields}


UPLINK = Mailbox(EVIL).uplink


def _says(message: str | bytes) -> Evil:
    return lambda evil: evil.xadd(UPLINK, {UPLINK_FIELD: message}, maxlen=50)


def _no_stream(evil: sync_redis.Redis) -> None:
    evil.delete(UPLINK)
    evil.setex(UPLINK, 60, "x")


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(_no_stream, id="its stream is no stream"),
        pytest.param(_says("[" * 100_000), id="deeper than the stack"),
        pytest.param(_says(b"\xff\xfe"), id="no text"),
        pytest.param(_says("x" * 2_000_000), id="long"),
        pytest.param(_says(_heartbeat(boot_id="b\0")), id="a character that Postgres takes nowhere"),
        pytest.param(_says(_heartbeat(boot_id="b\ud800")), id="half a character"),
        pytest.param(_says(_heartbeat(attempts=[_status(step=2**40)])), id="a number too large"),
        pytest.param(_says(_heartbeat(seq=float("nan"))), id="no number"),
        pytest.param(_says(_heartbeat(attempts=[_status()] * 5000)), id="more attempts than it can have"),
    ],
)
async def test_what_one_worker_writes_leaves_the_others_heard(
    studio: Studio, valkey_url: str, evil: sync_redis.Redis, attack: Evil
) -> None:
    healthy = MessageWorker(studio, worker_id="healthy")
    async with _listening(studio, valkey_url) as listening:
        await listening.hears(healthy)
        attack(evil)
        await _completes(listening, healthy)
        attack(evil)
        await listening.hears(healthy)
        assert listening.hearing.deaf_times == 0
        assert listening.hearing.for_s() > 0
        assert set(listening.heard) == {"healthy"}


async def test_a_stream_that_was_none_is_cleared_away_so_that_its_worker_can_come_back(
    studio: Studio, valkey_url: str, evil: sync_redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.uplinks.KEPT_OUT_S", 0.0)
    _no_stream(evil)
    async with _listening(studio, valkey_url) as listening, asyncio.timeout(20):
        while EVIL not in listening.heard:
            listening.news.clear()
            with suppress(sync_redis.ResponseError):
                evil.xadd(UPLINK, {UPLINK_FIELD: _heartbeat()})
            await _once(listening.news, 0.1)


async def test_a_value_that_only_the_database_refuses_is_one_workers_fault(
    studio: Studio, valkey_url: str, evil: sync_redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "jobs.collect.parse_uplink",
        lambda raw: (
            Heartbeat.model_construct(**{**dict(Heartbeat.model_validate_json(raw)), "boot_id": "b\0"})
            if b'"evil-1"' in raw
            else Heartbeat.model_validate_json(raw)
        ),
    )
    healthy = MessageWorker(studio, worker_id="healthy")
    async with _listening(studio, valkey_url) as listening:
        await listening.hears(healthy)
        for _ in range(3):
            evil.xadd(UPLINK, {UPLINK_FIELD: _heartbeat()})
            await listening.hears(healthy)
        assert listening.hearing.deaf_times == 0
        assert set(listening.heard) == {"healthy"}


async def test_an_error_that_nobody_foresaw_does_not_end_the_reading(
    studio: Studio, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = asyncio.Event()

    def break_once(raw: bytes) -> Heartbeat:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("nobody foresaw this")
        return Heartbeat.model_validate_json(raw)

    monkeypatch.setattr("jobs.collect.parse_uplink", break_once)
    async with _listening(studio, valkey_url) as listening:
        await listening.hears(MessageWorker(studio, worker_id="healthy"))
        assert listening.hearing.deaf_times == 1


async def test_a_stream_is_cut_to_its_length_and_thrown_away_when_too_large(
    studio: Studio, valkey_url: str, evil: sync_redis.Redis
) -> None:
    healthy = MessageWorker(studio, worker_id="healthy")
    async with _listening(studio, valkey_url) as listening:
        await listening.hears(healthy)
        for number in range(UPLINK_MAXLEN * 4):
            evil.xadd(UPLINK, {UPLINK_FIELD: str(number)})
        redis = studio.wakeups.redis
        async with asyncio.timeout(20):
            while await redis.xlen(UPLINK) > UPLINK_MAXLEN:
                await listening.hears(healthy)
        large = "x" * (MAX_UPLINK_BYTES // 4)
        for _ in range(5):
            evil.xadd(UPLINK, {UPLINK_FIELD: large})
        async with asyncio.timeout(20):
            while await redis.exists(UPLINK):
                await listening.hears(healthy)
        assert listening.hearing.deaf_times == 0


async def test_a_password_makes_no_second_worker(
    studio: Studio, valkey_url: str, evil: sync_redis.Redis
) -> None:
    with pytest.raises(NoPermissionError):
        evil.sadd(WORKERS_KEY, "another")
    redis = studio.wakeups.redis
    # As a password that was made before could, or another program with the studio's own.
    await redis.execute_command("SADD", WORKERS_KEY, b"\xff\xfe", "evil-1:x", "evil-1:y", "*", "x" * 65, "")
    untouched = Mailbox("evil-1:y").uplink
    evil.setex(untouched, 600, "were it a worker's stream, it would be thrown away")
    healthy, second = MessageWorker(studio, worker_id="healthy"), "evil-1:x"
    async with _listening(studio, valkey_url) as listening:
        await listening.hears(healthy)
        for _ in range(3):
            evil.xadd(Mailbox(second).uplink, {UPLINK_FIELD: _heartbeat(worker_id=second)})
            evil.xadd(UPLINK, {UPLINK_FIELD: _heartbeat(worker_id="healthy")})
            await listening.hears(healthy)
        await _completes(listening, healthy)
        assert set(listening.heard) == {"healthy"}
        assert listening.hearing.deaf_times == 0
    assert await redis.exists(untouched)
    async with studio.db.reading() as session:
        assert set(await session.exec(select(Worker.id))) == {EVIL, "healthy"}


async def test_a_worker_that_was_let_in_is_found_again_after_a_flush(
    studio: Studio, valkey_url: str, evil: sync_redis.Redis
) -> None:
    await admit_worker(studio, "printed")
    await studio.wakeups.redis.flushall()
    async with _listening(studio, valkey_url) as listening, asyncio.timeout(20):
        while set(listening.heard) != {EVIL, "printed"}:
            listening.news.clear()
            evil.xadd(UPLINK, {UPLINK_FIELD: _heartbeat()})
            await studio.wakeups.redis.xadd(
                Mailbox("printed").uplink, {UPLINK_FIELD: _heartbeat(worker_id="printed")}
            )
            await _once(listening.news, 0.1)


async def test_a_worker_that_was_sent_away_is_heard_no_more_and_given_nothing(
    studio: Studio, valkey_url: str
) -> None:
    creator, worker = await make_creator(studio), MessageWorker(studio, worker_id=EVIL)
    await add_worker(studio, EVIL)
    async with _listening(studio, valkey_url) as listening:
        await listening.hears(worker)
        await remove_worker(studio, EVIL)
        with pytest.raises(WorkerRemoved):
            await worker.beat()
        # Its name in the list brings it back as little as its messages do.
        await listening.say(worker.heartbeat())
        healthy = MessageWorker(studio, worker_id="healthy")
        await listening.hears(healthy)
        before = dict(listening.heard)
        await listening.say(worker.heartbeat())
        for _ in range(3):
            await listening.hears(healthy)
        assert listening.heard[EVIL] == before[EVIL]
        job = await submit(studio, creator)
        with pytest.raises(AssertionError):
            await worker.take(job.id)
        with pytest.raises(NotFound):
            await remove_worker(studio, EVIL)
        await add_worker(studio, EVIL)
        await worker.beat()
        await worker.take(job.id)


async def test_what_a_worker_says_under_anothers_name_renews_nothing(
    studio: Studio, valkey_url: str, evil: sync_redis.Redis
) -> None:
    healthy, third = MessageWorker(studio, worker_id="healthy"), MessageWorker(studio, worker_id="third")
    order = await healthy.take((await submit(studio, await make_creator(studio))).id)
    async with _listening(studio, valkey_url) as listening:
        while EVIL not in listening.heard:
            evil.xadd(UPLINK, {UPLINK_FIELD: _heartbeat()})
            await listening.hears(third)
        evil.xadd(UPLINK, {UPLINK_FIELD: healthy.heartbeat(healthy.status(order, 3)).model_dump_json()})
        # What was said before the third's first message was recorded before its second one is.
        await listening.hears(third)
        await listening.hears(third)
    async with studio.db.reading() as session:
        (attempt,) = await session.exec(select(Attempt))
        assert (attempt.state, attempt.seen_at, attempt.steps_done) == ("ordered", None, 0)
        assert await session.get(Worker, "healthy") is None


async def test_a_worker_has_32_reports_at_most_and_they_are_taken_one_at_a_time(
    studio: Studio, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, healthy = MessageWorker(studio, worker_id=EVIL), MessageWorker(studio, worker_id="healthy")
    order = await worker.take((await submit(studio, await make_creator(studio))).id)
    report = worker.report(order, Outcome.HANDED_BACK)
    go_on, at_once, most, taken = asyncio.Event(), 0, 0, set()

    async def slow(_studio: Studio, said: Report) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await go_on.wait()
        taken.add(said.attempt_id)
        at_once -= 1

    monkeypatch.setattr("jobs.collect.accept_report", slow)
    async with _listening(studio, valkey_url) as listening:
        await listening.hears(worker)
        for number in range(40):
            await listening.say(report.model_copy(update={"attempt_id": f"att_{number}"}))
        await listening.hears(healthy)
        await listening.hears(healthy)
        go_on.set()
        async with asyncio.timeout(20):
            while len(taken) < 32:
                await listening.hears(healthy)
        await listening.hears(healthy)
    assert len(taken) == 32
    assert most == 1


async def test_a_stream_that_was_none_is_left_out_for_a_while(
    studio: Studio, valkey_url: str, evil: sync_redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.uplinks.KEPT_OUT_S", 600.0)
    monkeypatch.setattr("jobs.uplinks.FIND_WORKERS_EVERY_S", 0.0)
    healthy = MessageWorker(studio, worker_id="healthy")
    _no_stream(evil)
    async with _listening(studio, valkey_url) as listening, asyncio.timeout(30):
        while evil.exists(UPLINK):
            await listening.hears(healthy)
        for _ in range(5):
            evil.xadd(UPLINK, {UPLINK_FIELD: _heartbeat()})
            await listening.hears(healthy)
        assert set(listening.heard) == {"healthy"}


async def test_a_worker_that_was_sent_away_leaves_no_keys_and_an_entry_of_it(studio: Studio) -> None:
    await add_worker(studio, EVIL)
    redis, box = studio.wakeups.redis, Mailbox(EVIL)
    for key in (box.orders, box.uplink, box.wishes):
        await redis.set(key, "x")
    await remove_worker(studio, EVIL)
    assert await redis.exists(box.orders, box.uplink, box.wishes) == 0
    assert not await redis.sismember(WORKERS_KEY, EVIL)
    async with studio.db.reading() as session:
        said = select(AuditEntry.action, AuditEntry.subject).order_by(col(AuditEntry.id).desc()).limit(1)
        assert (await session.exec(said)).one() == ("worker.removed", EVIL)


async def test_a_heartbeat_that_names_others_attempts_locks_and_changes_none(studio: Studio) -> None:
    creator = await make_creator(studio)
    healthy, other = MessageWorker(studio, worker_id="healthy"), MessageWorker(studio, worker_id=EVIL)
    order = await healthy.take((await submit(studio, creator)).id)
    async with studio.db.transaction() as session:
        await session.execute(text("SELECT id FROM jobs WHERE id = :id FOR UPDATE"), {"id": order.job_id})
        async with asyncio.timeout(5):
            await other.step(order, 9)
    async with studio.db.reading() as session:
        attempt = await session.get(Attempt, order.attempt_id)
    assert attempt is not None
    assert attempt.steps_done == 0


async def test_a_heartbeat_that_names_anothers_job_under_an_attempt_of_its_own_does_not_wait_for_it(
    studio: Studio,
) -> None:
    creator = await make_creator(studio)
    healthy, other = MessageWorker(studio, worker_id="healthy"), MessageWorker(studio, worker_id=EVIL)
    order = await healthy.take((await submit(studio, creator)).id)
    its_own = await other.take((await submit(studio, creator)).id)
    lie = other.status(its_own, 3).model_copy(update={"job_id": order.job_id})
    async with studio.db.transaction() as session:
        await session.execute(text("SELECT id FROM jobs WHERE id = :id FOR UPDATE"), {"id": order.job_id})
        async with asyncio.timeout(5):
            await other.beat(lie)


async def test_what_a_heartbeat_says_many_times_is_recorded_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, other = await make_creator(studio), MessageWorker(studio, worker_id=EVIL)
    order = await other.take((await submit(studio, creator)).id)
    recorded = []
    record = accept_heartbeat._record_status

    async def watched(session: Any, heartbeat: Heartbeat, status: AttemptStatus) -> Any:
        recorded.append(status.step)
        return await record(session, heartbeat, status)

    monkeypatch.setattr(accept_heartbeat, "_record_status", watched)
    wishes = await other.beat(*(other.status(order, 1 + step % 3) for step in range(256)))
    assert recorded == [1]
    assert set(wishes.attempts) == {order.attempt_id}


@pytest.mark.parametrize("way", ["heartbeat", "report"])
@pytest.mark.parametrize(
    "lie",
    [
        pytest.param({"key": "checkpoint-a!"}, id="no store takes it"),
        pytest.param({"key": "checkpoint-a/../../../other"}, id="out of its folder"),
        pytest.param({"key": "checkpoint-c"}, id="not ordered"),
        pytest.param({"key": "clip.mp4"}, id="another object of its own"),
        pytest.param({"key": "../2/checkpoint-a"}, id="of another attempt"),
        pytest.param({"step": 10_000}, id="past the last step"),
    ],
)
async def test_a_checkpoint_that_was_not_ordered_is_not_believed(
    studio: Studio, lie: dict[str, Any], way: str
) -> None:
    creator, worker = await make_creator(studio), MessageWorker(studio, worker_id=EVIL)
    order = await worker.take((await submit(studio, creator)).id)
    honest = CheckpointRef(
        key=order.objects.checkpoint_a.key, step=2, sha256="0" * 64, size_bytes=1, identity="x"
    )
    folder = honest.key.removesuffix("checkpoint-a")
    said = honest.model_copy(update=lie | ({"key": folder + lie["key"]} if "key" in lie else {}))
    await worker.step(order, 3, checkpoint=said if way == "heartbeat" else None)
    left = worker.report(order, Outcome.HANDED_BACK, checkpoint=said if way == "report" else None)
    await accept_report(studio, left)
    async with studio.db.reading() as session:
        assert list(await session.exec(select(Job.checkpoint))) == [None]
    assert (await MessageWorker(studio, worker_id="healthy").take(order.job_id)).resume is None


@pytest.mark.parametrize(
    "lie",
    [
        {"kind": "spritesheet", "num_frames": 20_000, "columns": 1},
        {"kind": "video", "num_frames": 20_000},
        {"kind": "video", "width": 16_000, "height": 16_000},
        {"kind": "thumbnail", "width": 16_000},
    ],
)
async def test_a_report_of_another_clip_than_was_ordered_fails_the_attempt_and_not_the_job(
    studio: Studio, lie: dict[str, Any]
) -> None:
    creator, worker = await make_creator(studio), MessageWorker(studio, worker_id=EVIL)
    job = await submit(studio, creator)
    report = await worker.write(await worker.take(job.id))
    artifacts = tuple(
        artifact.model_copy(update=lie) if artifact.kind == lie["kind"] else artifact
        for artifact in report.artifacts
    )
    await accept_report(studio, report.model_copy(update={"artifacts": artifacts}))
    assert (await get_generation(studio, creator, job.id)).state == "queued"
    async with studio.db.reading() as session:
        assert list(await session.exec(select(Attempt.cause))) == ["storage_error"]
        assert list(await session.exec(select(Artifact.id))) == []


async def test_a_files_type_and_times_are_what_was_ordered_and_not_what_a_worker_says(studio: Studio) -> None:
    creator, worker = await make_creator(studio), MessageWorker(studio, worker_id=EVIL)
    order = await worker.take((await submit(studio, creator)).id)
    report = await worker.write(order)
    lie = {"content_type": "text/html", "fps": 999.0, "duration_s": 1e6}
    artifacts = tuple(artifact.model_copy(update=lie) for artifact in report.artifacts)
    await accept_report(studio, report.model_copy(update={"artifacts": artifacts}))
    async with studio.db.reading() as session:
        rows = {row.kind: row for row in await session.exec(select(Artifact))}
    assert {kind: row.content_type for kind, row in rows.items()} == {
        "video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/webp"
    }  # fmt: skip
    assert rows["video"].fps == order.spec.fps
    assert rows["video"].duration_s == order.spec.num_frames / order.spec.fps
    assert rows["thumbnail"].duration_s == 0


async def test_a_clip_that_is_not_what_was_reported_is_made_again_elsewhere_and_is_judged_once(
    studio: Studio,
) -> None:
    creator, worker = await make_creator(studio), MessageWorker(studio, worker_id=EVIL)
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    shown = (await get_generation(studio, creator, job.id)).progress
    asked = 0

    def refuses(files: ClipFiles) -> Ruling:
        nonlocal asked
        asked += 1
        assert files.num_frames == worker.orders[0].spec.num_frames
        raise NotAsOrdered("another clip")

    for _ in range(2):
        assert await moderate_generation(studio, job.id, refuses) is None
    assert asked == 1
    view = await get_generation(studio, creator, job.id)
    assert (view.state, view.charged, view.progress) == ("queued", None, shown)
    async with studio.db.reading() as session:
        (attempt,) = await session.exec(select(Attempt))
        assert (attempt.state, attempt.cause) == ("failed", Cause.BAD_CLIP)
        assert list(await session.exec(select(Artifact.id))) == []
    await run_to_end(studio, MessageWorker(studio, worker_id="healthy"), job.id)
    assert (await get_generation(studio, creator, job.id)).state == "completed"


async def _junk(worker: MessageWorker, job_id: str) -> None:
    """Deliver files that are not the ones that were reported."""
    order = await worker.take(job_id)
    await worker.finish(order)
    await worker.studio.storage.put_bytes(order.objects.clip.key, b"others!!!")
    await moderate_generation(worker.studio, job_id, judge(Verdict.ALLOW))


async def test_a_worker_that_delivers_junk_rests_and_fails_nobodys_job(studio: Studio) -> None:
    creator, worker = await make_creator(studio, credits=1000), MessageWorker(studio, worker_id=EVIL)
    await worker.beat()
    job_ids = [(await submit(studio, creator)).id for _ in range(3)]
    for job_id in job_ids:
        assert (await read_standings(studio))[EVIL] is Takes.ALL
        await _junk(worker, job_id)
    assert (await read_standings(studio))[EVIL] is Takes.NOTHING
    states = [(await get_generation(studio, creator, job_id)).state for job_id in job_ids]
    assert states == ["queued"] * 3


async def test_a_clip_that_nobody_has_judged_ends_no_rest(studio: Studio) -> None:
    creator, worker = await make_creator(studio, credits=1000), MessageWorker(studio, worker_id=EVIL)
    await worker.beat()
    for _ in range(3):
        await _junk(worker, (await submit(studio, creator)).id)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET ended_at = ended_at - interval '5 minutes'"))
    await judge_resting_workers(studio)
    assert (await read_standings(studio))[EVIL] is Takes.ONE
    job = await submit(studio, creator)
    await worker.finish(await worker.take(job.id))
    await judge_resting_workers(studio)
    assert (await read_standings(studio))[EVIL] is Takes.ONE
    await moderate_generation(studio, job.id, judge(Verdict.BLOCK))
    assert (await read_standings(studio))[EVIL] is Takes.ALL


async def test_a_job_that_is_given_junk_again_and_again_fails_at_no_charge(studio: Studio) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    for number in range(MAX_FAILED_ATTEMPTS):
        assert (await get_generation(studio, creator, job.id)).state == "queued"
        await _junk(MessageWorker(studio, worker_id=f"{EVIL}-{number}"), job.id)
    view = await get_generation(studio, creator, job.id)
    assert (view.state, view.charged, view.error_code) == ("failed", 0, "workers_failed")
    await ledger_is_sound(studio)


async def test_junk_for_a_clip_that_its_owner_deleted_is_not_made_again(studio: Studio) -> None:
    creator, worker = await make_creator(studio), MessageWorker(studio, worker_id=EVIL)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    await worker.finish(order)
    await delete_generation(studio, creator, job.id)
    await studio.storage.put_bytes(order.objects.clip.key, b"others!!!")
    await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
    async with studio.db.reading() as session:
        assert list(await session.exec(select(Job.state))) == ["failed"]
    await ledger_is_sound(studio)
