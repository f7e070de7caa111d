"""What a tier allows is enforced where it counts, and a change of it is in force at once."""

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlmodel import select
from typer.testing import CliRunner

from backend.api.app import create_app
from backend.auth.principal import Principal, Role
from backend.clock import FakeClock
from backend.contracts import CheckpointRef, Outcome
from backend.db.engine import Database
from backend.db.models import AuditEntry, Job, User
from backend.domain.errors import (
    IdempotencyMismatch,
    InsufficientCredits,
    InvalidField,
    NotAllowed,
    QueueLimitReached,
    QuotaExhausted,
    RateLimited,
)
from backend.domain.tiers import TIERS
from backend.services.accept_report import accept_report
from backend.services.create_api_key import create_api_key_for
from backend.services.drop_checkpoints import drop_checkpoints
from backend.services.edit_tier import edit_tier, list_tiers
from backend.services.generation_request import GenerationRequest
from backend.services.get_generation import get_generation
from backend.services.quote_generation import quote_generation
from backend.services.submit_generation import submit_generation
from backend.studio import Studio
from backend.token_bucket import PREFIX, TokenBuckets
from backend.wakeups import Wakeups, connect
from backend.web_process import WebProcess
from jobs.watch_tiers import watch_tiers
from tests.integration.life_rig import (
    MessageWorker,
    empty,
    ledger_is_sound,
    make_creator,
    open_test_studio,
    run_to_end,
    submit,
)


@pytest.fixture
async def studio(db: Database, valkey_url: str, tmp_path: Path) -> AsyncIterator[Studio]:
    await empty(db)
    made = open_test_studio(db, valkey_url, tmp_path)
    yield made
    await ledger_is_sound(made)
    for name, tier in TIERS.items():
        now = next(t for t in await list_tiers(made) if t.name == name)
        if now != tier:
            await edit_tier(made, name=name, changes=typed(tier))
    await made.wakeups.close()


def typed(tier: object) -> dict[str, str]:
    """A tier's own values, as somebody would type them."""
    values = dataclasses.asdict(tier)  # type: ignore[call-overload]  # a dataclass
    return {
        name: str(value.total_seconds()) if isinstance(value, timedelta) else str(value)
        for name, value in values.items()
        if name != "name"
    }


async def sql(studio: Studio, statement: str, **values: object) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text(statement), values)


# ---- editing ----


async def test_a_change_is_in_force_for_the_next_submission_and_in_the_audit(studio: Studio) -> None:
    creator = await make_creator(studio, tier="free")
    await submit(studio, creator)
    await edit_tier(studio, name="free", changes={"queue_limit": "1", "weight": "1"})
    with pytest.raises(QueueLimitReached):
        await submit(studio, creator)
    async with studio.db.reading() as session:
        entry = (await session.exec(select(AuditEntry).where(AuditEntry.action == "tier.changed"))).one()
    # Only what differs: the weight was 1 before.
    assert (entry.subject, entry.detail) == (
        "free",
        {"before": {"queue_limit": 10}, "after": {"queue_limit": 1}},
    )


async def test_a_wrong_value_changes_nothing_and_only_admins_may(studio: Studio) -> None:
    with pytest.raises(InvalidField, match="queue_limit is a whole number from 1"):
        await edit_tier(studio, name="free", changes={"weight": "3", "queue_limit": "none"})
    with pytest.raises(InvalidField, match="free"):
        await edit_tier(studio, name="gold", changes={"weight": "3"})
    await edit_tier(studio, name="pro", changes={"floor": "0.9"})
    with pytest.raises(InvalidField, match="below 1"):
        await edit_tier(studio, name="plus", changes={"floor": "0.1"})
    creator = await make_creator(studio)
    with pytest.raises(NotAllowed):
        await edit_tier(studio, name="free", changes={"weight": "3"}, by=creator)
    admin = await make_creator(studio, role=Role.ADMIN)
    assert (await edit_tier(studio, name="free", changes={"weight": "3"}, by=admin)).weight == 3


def test_the_commands_list_and_set_tiers(
    studio: Studio, valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.cli import app

    for name, value in {
        "DATABASE_URL": studio.db.url,
        "REDIS_URL": valkey_url,
        "DATA_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(f"ZOETROPE_{name}", value)
    run = CliRunner().invoke
    assert run(app, ["tiers", "set", "plus", "queue_limit=60", "ceiling=20m"]).exit_code == 0
    listed = run(app, ["tiers", "list"])
    assert listed.exit_code == 0, listed.output
    rows = {line.split()[0]: line.split()[1:] for line in listed.stdout.splitlines()[1:]}
    assert rows["queue_limit"][1] == "60"
    assert rows["ceiling_s"][1] == "1,200"
    assert '"monthly_grant": 2000' in run(app, ["tiers", "list", "--json"]).stdout
    assert run(app, ["tiers", "set", "plus", "queue_limit"]).exit_code != 0


async def test_the_leader_begins_anew_when_a_tier_changed(studio: Studio) -> None:
    watching = asyncio.create_task(watch_tiers(studio, every_s=0.01))
    async with asyncio.timeout(20):
        for weight in itertools.cycle(("3", "4")):
            if watching.done():
                break
            await edit_tier(studio, name="plus", changes={"weight": weight})
    await watching


# ---- where each is enforced ----


@pytest.mark.parametrize(
    ("changes", "fields", "param"),
    [
        ({"max_seconds": "1"}, {}, "seconds"),
        ({"max_pixels": "100"}, {}, "size"),
    ],
)
async def test_the_longest_clip_and_the_largest_size(
    studio: Studio, changes: dict[str, str], fields: dict[str, object], param: str
) -> None:
    creator = await make_creator(studio, tier="free")
    await edit_tier(studio, name="free", changes=changes)
    with pytest.raises(InvalidField, match="free tier allows") as refused:
        await submit(studio, creator, **fields)
    assert refused.value.param == param


async def test_the_days_quota_counts_jobs_of_this_day_in_utc(studio: Studio) -> None:
    creator = await make_creator(studio, tier="free")
    await edit_tier(studio, name="free", changes={"daily_jobs": "2"})
    yesterday = await submit(studio, creator)
    await sql(
        studio,
        "UPDATE jobs SET created_at = date_trunc('day', now(), 'UTC') - interval '1 second' WHERE id = :id",
        id=yesterday.id,
    )
    for _ in range(2):
        await submit(studio, creator)
    with pytest.raises(QuotaExhausted, match="Today's 2 jobs of the free tier are used") as refused:
        await submit(studio, creator)
    assert refused.value.retry_after is not None
    assert timedelta(0) < refused.value.retry_after <= timedelta(days=1)


async def test_a_days_quota_that_was_lowered_says_no_wrong_number_of_jobs_sent(studio: Studio) -> None:
    creator = await make_creator(studio, tier="free")
    for _ in range(3):
        await submit(studio, creator)
    await edit_tier(studio, name="free", changes={"daily_jobs": "1"})
    with pytest.raises(QuotaExhausted) as refused:
        await submit(studio, creator)
    assert refused.value.message == (
        "Today's 1 job of the free tier is used. The next day begins at midnight UTC."
    )


async def test_a_clip_is_kept_as_long_as_its_tier_says_on_the_day_of_its_release(studio: Studio) -> None:
    creator = await make_creator(studio, tier="free")
    await edit_tier(studio, name="free", changes={"retention": "7d"})
    job = await submit(studio, creator)
    await run_to_end(studio, MessageWorker(studio), job.id)
    done = await get_generation(studio, creator, job.id)
    assert done.expires_at is not None
    assert done.ended_at is not None
    assert abs(done.expires_at - done.ended_at - timedelta(days=7)) < timedelta(minutes=1)


async def test_a_checkpoint_of_a_job_that_waits_is_dropped_after_its_tiers_time(studio: Studio) -> None:
    creator = await make_creator(studio, tier="free")
    worker = MessageWorker(studio)
    job = await submit(studio, creator)
    order = await worker.take(job.id)
    key = order.objects.clip.key.rpartition("/")[0] + "/checkpoint-a"
    await studio.storage.put_bytes(key, b"latents")
    kept = CheckpointRef(key=key, sha256="0" * 64, size_bytes=7, step=3, identity="x")
    await worker.step(order, 3, checkpoint=kept)
    await accept_report(studio, worker.report(order, Outcome.HANDED_BACK, checkpoint=kept))
    assert await drop_checkpoints(studio) == 0
    await sql(studio, "UPDATE attempts SET ended_at = now() - interval '25 hours'")
    assert await drop_checkpoints(studio) == 1
    async with studio.db.reading() as session:
        assert (await session.get_one(Job, job.id)).checkpoint is None
    assert [info.key async for info in studio.storage.list_objects(f"jobs/{job.id}/")] == []
    assert await drop_checkpoints(studio) == 0


# ---- how fast ----


async def test_a_minutes_worth_at_once_then_evenly_by_valkeys_clock(studio: Studio) -> None:
    buckets = TokenBuckets(studio.wakeups.redis, FakeClock())
    taken = await asyncio.gather(*(buckets.take("a", per_minute=6) for _ in range(9)))
    assert taken.count(None) == 6
    waits = [wait for wait in taken if wait is not None]
    assert all(timedelta(seconds=9) < wait <= timedelta(seconds=10) for wait in waits)
    assert await buckets.take("b", per_minute=6) is None
    at = int(await studio.wakeups.redis.hget(PREFIX + "a", "at"))  # type: ignore[misc]  # both clients at once
    await studio.wakeups.redis.hset(PREFIX + "a", "at", at - 10_000)  # type: ignore[misc]  # ten seconds ago
    assert await buckets.take("a", per_minute=6) is None
    assert await buckets.take("a", per_minute=6) is not None
    assert 0 < await studio.wakeups.redis.pttl(PREFIX + "a") <= 61_000


async def test_without_valkey_this_process_counts_alike_and_asks_it_again_after_a_second() -> None:
    clock = FakeClock()
    buckets = TokenBuckets(connect("redis://127.0.0.1:1"), clock)
    taken = [await buckets.take("a", per_minute=6) for _ in range(8)]
    assert taken[:6] == [None] * 6
    assert taken[6] == timedelta(seconds=10)
    clock.advance(timedelta(seconds=10))
    assert await buckets.take("a", per_minute=6) is None
    assert await buckets.take("a", per_minute=6) == timedelta(seconds=10)


async def test_a_valkey_that_hangs_costs_a_submission_a_moment_and_no_more(studio: Studio) -> None:
    async def never_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung.append(writer)

    hung: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    # A client that would itself wait for ever.
    redis = Redis.from_url(f"redis://127.0.0.1:{port}", socket_timeout=None)
    buckets = TokenBuckets(redis, FakeClock())
    async with asyncio.timeout(60):
        assert [await buckets.take("a", per_minute=9) for _ in range(20)].count(None) == 9
    assert len(hung) == 1
    await redis.aclose()
    server.close()
    for writer in hung:
        writer.close()


@pytest.mark.parametrize("valkey_is_there", [True, False])
async def test_an_account_sends_no_faster_than_its_tier_allows(studio: Studio, valkey_is_there: bool) -> None:
    if not valkey_is_there:
        studio = dataclasses.replace(studio, wakeups=Wakeups(connect("redis://127.0.0.1:1")))
    await edit_tier(studio, name="free", changes={"submits_per_minute": "3"})
    creator, other = await make_creator(studio, tier="free"), await make_creator(studio, tier="free")
    for _ in range(3):
        await submit(studio, creator)
    with pytest.raises(RateLimited, match="3 submissions a minute") as refused:
        await submit(studio, creator)
    assert refused.value.retry_after is not None
    assert timedelta(0) < refused.value.retry_after <= timedelta(seconds=20)
    await submit(studio, other)
    await edit_tier(studio, name="free", changes={"submits_per_minute": "20"})


async def test_a_repeat_is_answered_though_a_new_request_would_be_refused(studio: Studio) -> None:
    await edit_tier(studio, name="free", changes={"submits_per_minute": "1"})
    creator = await make_creator(studio, tier="free")
    request = GenerationRequest(prompt="a red circle", seconds="2")
    first = await submit_generation(studio, creator, request, idempotency_key="once")
    for _ in range(3):
        assert (await submit_generation(studio, creator, request, idempotency_key="once")).id == first.id
    await edit_tier(studio, name="free", changes={"max_seconds": "1"})
    assert (await submit_generation(studio, creator, request, idempotency_key="once")).id == first.id
    other = GenerationRequest(prompt="a blue circle", seconds="2")
    with pytest.raises(IdempotencyMismatch):
        await submit_generation(studio, creator, other, idempotency_key="once")
    with pytest.raises(InvalidField):
        await submit_generation(studio, creator, request, idempotency_key="another")
    await edit_tier(studio, name="free", changes={"max_seconds": "4", "submits_per_minute": "20"})


async def test_a_request_that_is_wrong_costs_no_token(studio: Studio) -> None:
    await edit_tier(studio, name="free", changes={"submits_per_minute": "1"})
    creator = await make_creator(studio, tier="free")
    for _ in range(3):
        with pytest.raises(InvalidField):
            await submit(studio, creator, seconds="99")
    await submit(studio, creator)


# ---- four errors ----


async def key_of(studio: Studio, who: Principal) -> str:
    async with studio.db.reading() as session:
        email = (await session.get_one(User, who.user_id)).email
    return await create_api_key_for(studio, email=email)


async def test_four_refusals_are_four_errors_each_with_when_it_works_again(studio: Studio) -> None:
    transport = httpx.ASGITransport(create_app(WebProcess(lambda: studio)))
    body = {"prompt": "a red circle"}
    said = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as http:

        async def refused(name: str, creator: Principal) -> None:
            headers = {"authorization": f"Bearer {await key_of(studio, creator)}"}
            for _ in range(3):
                answer = await http.post("/v1/videos", json=body, headers=headers)
            error = answer.json()["error"]
            said[name] = (
                answer.status_code,
                error["code"],
                answer.headers["x-should-retry"],
                "retry-after" in answer.headers,
            )

        await refused("no credits", await make_creator(studio, credits=0, tier="free"))
        await edit_tier(studio, name="free", changes={"daily_jobs": "2"})
        await refused("no quota", await make_creator(studio, tier="free"))
        await edit_tier(studio, name="free", changes={"daily_jobs": "50", "queue_limit": "2"})
        await refused("queue", await make_creator(studio, tier="free"))
        await edit_tier(studio, name="free", changes={"queue_limit": "10", "submits_per_minute": "2"})
        await refused("fast", await make_creator(studio, tier="free"))
    assert said == {
        "no credits": (402, "insufficient_credits", "false", True),
        "no quota": (429, "quota_exhausted", "false", True),
        # Nobody leads here, so nobody knows when the next job ends.
        "queue": (429, "queue_limit_reached", "false", False),
        "fast": (429, "rate_limit_exceeded", "true", True),
    }


async def test_the_queue_limit_says_when_the_next_job_is_expected_to_end(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator = await make_creator(studio, tier="free")
    await edit_tier(studio, name="free", changes={"queue_limit": "2"})
    jobs = [await submit(studio, creator) for _ in range(2)]

    async def leader(_question: dict[str, object]) -> dict[str, object]:
        places = {job.id: {"position": n + 1, "of": 2, "p50_s": 40.0 * (n + 1), "p90_s": 90.0, "reason": ""}
                  for n, job in enumerate(jobs)}  # fmt: skip
        return {"places": places}

    monkeypatch.setattr(studio.wakeups, "ask_leader", leader)
    with pytest.raises(QueueLimitReached, match="40 s") as refused:
        await submit(studio, creator)
    assert refused.value.retry_after == timedelta(seconds=40)


async def test_too_few_credits_say_what_is_held_and_what_comes_and_when(studio: Studio) -> None:
    creator = await make_creator(studio, credits=0, tier="free")
    price = (await quote_generation(studio, creator, GenerationRequest(prompt="a red circle"))).credits
    await sql(studio, "UPDATE accounts SET vouched_at = now() WHERE id = :id", id=creator.account_id)
    with pytest.raises(
        InsufficientCredits, match=rf"costs {price} credits and the account has 0\. 200 come"
    ) as no:
        await submit(studio, creator)
    assert no.value.retry_after is not None
    assert timedelta(0) < no.value.retry_after <= timedelta(days=31)
    # A tier without monthly credits: nothing comes by itself, so no time is named.
    await edit_tier(studio, name="free", changes={"monthly_grant": "0"})
    with pytest.raises(InsufficientCredits) as never:
        await submit_generation(studio, creator, GenerationRequest(prompt="a red circle"))
    assert never.value.retry_after is None
    quote = await quote_generation(studio, creator, GenerationRequest(prompt="a red circle"))
    assert quote.shortfall == never.value.message
    assert quote.works_in is None
    assert quote.available == 0
