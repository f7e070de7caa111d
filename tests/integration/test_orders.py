"""Orders are made from rows alone, sent until they are named, renewed while they live; bad rows hold up nobody."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from sqlalchemy import text
from sqlmodel import select

from backend.auth.principal import Principal
from backend.clock import FakeClock
from backend.contracts import AttemptPhase, CheckpointRef, Mailbox, Order, Outcome, SignedObject
from backend.contracts.arq_queue import open_queues
from backend.contracts.wire import from_json
from backend.db.models import Attempt
from backend.domain.artifact import ArtifactKind
from backend.domain.attempt import Cause, Slot
from backend.domain.generation import JobState
from backend.ending import end_tasks
from backend.services.accept_report import accept_report
from backend.services.build_order import RENEWED_AFTER, URL_TTL
from backend.services.cancel_generation import cancel_generation
from backend.services.dispatch_generation import dispatch_generation, due_orders
from backend.services.fetch_artifact import artifact_url
from backend.services.generation_request import ConditioningRequest
from backend.services.get_generation import get_generation
from backend.storage import SignedPut, StorageUnavailable
from backend.storage.local import LocalStorage
from backend.storage.signing import ExpiredUrl
from backend.studio import Studio
from jobs.control import lead_term
from tests.integration.life_rig import (
    MessageWorker,
    lead,
    make_creator,
    run_to_end,
    submit,
)


async def sql(studio: Studio, statement: str, **values: object) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text(statement), values)


async def time_passes(studio: Studio, seconds: float) -> None:
    """For orders that lie with their workers."""
    await sql(
        studio,
        "UPDATE attempts SET ordered_at = ordered_at - make_interval(secs => :s),"
        " order_sent_at = order_sent_at - make_interval(secs => :s)",
        s=seconds,
    )


async def with_image(studio: Studio, creator: Principal) -> str:
    """A job with an image that may be dispatched."""
    await sql(
        studio,
        "INSERT INTO uploads (id, account_id, user_id, key, sha256, content_type, width, height, size_bytes, state)"
        " VALUES ('up_1', :a, :u, 'uploads/x.png', 'x', 'image/png', 64, 64, 1, 'stored')",
        a=creator.account_id,
        u=creator.user_id,
    )
    job = await submit(studio, creator, conditioning=(ConditioningRequest(upload_id="up_1"),))
    await sql(studio, "UPDATE jobs SET input_verdict = 'allow'")
    return job.id


async def attempt_of(studio: Studio, job_id: str) -> Attempt:
    async with studio.db.reading() as session:
        return (await session.exec(select(Attempt).where(Attempt.job_id == job_id))).one()


async def test_an_order_that_no_heartbeat_named_is_sent_again_and_one_that_was_named_is_not(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    first, second = await submit(studio, creator), await submit(studio, creator)
    unseen = await worker.take(first.id)
    seen = await worker.take(second.id, slot=Slot.NEXT)
    assert await due_orders(studio) == []
    await worker.beat(worker.status(seen, 0, phase=AttemptPhase.RECEIVED))
    await time_passes(studio, 3)
    assert [order.attempt_id for order in await due_orders(studio)] == [unseen.attempt_id]
    assert await due_orders(studio) == []
    await time_passes(studio, 3)
    assert [order.attempt_id for order in await due_orders(studio)] == [unseen.attempt_id]


async def test_an_order_sent_again_is_the_same_but_for_its_urls(
    studio: Studio, worker: MessageWorker
) -> None:
    order = await worker.take((await submit(studio, await make_creator(studio))).id)
    await time_passes(studio, 3)
    (again,) = await due_orders(studio)
    keys = {name: signed.key for name, signed in order.objects}
    assert {name: signed.key for name, signed in again.objects} == keys
    assert again.model_copy(update={"objects": order.objects}) == order


async def test_a_long_run_gets_fresh_urls_and_an_ended_one_none(
    studio: Studio, worker: MessageWorker
) -> None:
    creator = await make_creator(studio)
    running, ended = await submit(studio, creator), await submit(studio, creator)
    order = await worker.take(running.id)
    other = MessageWorker(studio, worker_id="w2")
    await worker.step(order, 3)
    await other.step(await other.take(ended.id), 3)
    await cancel_generation(studio, creator, ended.id)
    await time_passes(studio, RENEWED_AFTER.total_seconds() - 5)
    assert await due_orders(studio) == []
    await time_passes(studio, 6)
    assert [renewed.attempt_id for renewed in await due_orders(studio)] == [order.attempt_id]
    assert await due_orders(studio) == []


def permits(studio: Studio, signed: SignedObject) -> bool:
    """Whether this URL still writes."""
    assert isinstance(studio.storage, LocalStorage)
    url = urlsplit(signed.put_url or "")
    try:
        studio.storage.verify("PUT", unquote(url.path.removeprefix("/objects/")), dict(parse_qsl(url.query)))
    except ExpiredUrl:
        return False
    return True


async def test_what_a_worker_may_write_ends_within_the_hour_and_what_people_read_within_a_quarter(
    studio: Studio, worker: MessageWorker
) -> None:
    clock = FakeClock()
    studio = replace(
        studio,
        storage=LocalStorage(
            Path(studio.settings.storage_url), secret=b"s" * 32, worker_url="http://studio", clock=clock
        ),
    )
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    order = await run_to_end(studio, MessageWorker(studio), job.id)
    shown = urlsplit(await artifact_url(studio, creator, job.id, ArtifactKind.VIDEO))
    assert int(dict(parse_qsl(shown.query))["expires"]) - clock.now().timestamp() <= 15 * 60
    assert timedelta(hours=1) >= URL_TTL
    assert RENEWED_AFTER <= URL_TTL / 2
    assert all(permits(studio, signed) for _name, signed in order.objects)
    clock.advance(URL_TTL)
    assert not any(permits(studio, signed) for _name, signed in order.objects)


async def test_an_order_is_made_for_a_recipe_that_only_its_worker_knows(
    studio: Studio, worker: MessageWorker
) -> None:
    job = await submit(studio, await make_creator(studio))
    await sql(studio, "UPDATE jobs SET recipe = 'newer'")
    order = await worker.take(job.id)
    assert (order.recipe, order.checkpoint_every_s) == ("newer", 20.0)
    await time_passes(studio, 3)
    assert [again.recipe for again in await due_orders(studio)] == ["newer"]


@pytest.mark.parametrize("harm", ["spec", "image", "image's key"])
async def test_a_job_whose_rows_make_no_order_fails_at_no_charge_and_keeps_nobody_from_theirs(
    studio: Studio, worker: MessageWorker, harm: str
) -> None:
    creator = await make_creator(studio)
    bad = await with_image(studio, creator)
    good = await submit(studio, creator)
    await worker.take(bad)
    other = await MessageWorker(studio, worker_id="w2").take(good.id)
    await do_harm(studio, bad, harm)
    await time_passes(studio, 3)
    assert [order.attempt_id for order in await due_orders(studio)] == [other.attempt_id]
    async with studio.db.reading() as session:
        row = await session.execute(
            text("SELECT state, charged, error_code FROM jobs WHERE id = :id"), {"id": bad}
        )
        assert tuple(row.one()) == (JobState.FAILED, 0, Cause.BAD_ORDER)
    attempt = await attempt_of(studio, bad)
    assert (attempt.state, attempt.cause) == ("failed", Cause.BAD_ORDER)


async def do_harm(studio: Studio, job_id: str, harm: str) -> None:
    if harm == "spec":
        await sql(studio, "UPDATE jobs SET spec = '{}' WHERE id = :id", id=job_id)
    elif harm == "image's key":
        await sql(studio, "UPDATE uploads SET key = 'uploads/x!'")
    else:
        await sql(studio, "DELETE FROM uploads")


@pytest.mark.parametrize("harm", ["spec", "image"])
async def test_such_a_job_is_never_given_to_a_worker(studio: Studio, harm: str) -> None:
    creator = await make_creator(studio)
    bad = await with_image(studio, creator)
    await do_harm(studio, bad, harm)
    term = await lead(studio)
    assert await dispatch_generation(studio, term, job_id=bad, worker_id="w1", slot=Slot.RUN) is None
    async with studio.db.reading() as session:
        assert (await session.exec(select(Attempt))).all() == []
        row = await session.execute(text("SELECT state, charged FROM jobs"))
        assert tuple(row.one()) == (JobState.FAILED, 0)


@pytest.mark.parametrize("harm", ["""checkpoint || '{"key": "jobs/x!"}'""", "checkpoint - 'sha256'", "'[]'"])
async def test_a_job_whose_checkpoint_nobody_can_read_begins_again_and_keeps_nobody_from_theirs(
    studio: Studio, worker: MessageWorker, harm: str
) -> None:
    creator = await make_creator(studio)
    order = await worker.take((await submit(studio, creator)).id)
    kept = CheckpointRef(
        key=order.objects.checkpoint_a.key, step=1, sha256="0" * 64, size_bytes=1, identity="x"
    )
    await worker.step(order, 1, checkpoint=kept)
    await accept_report(studio, worker.report(order, Outcome.HANDED_BACK))
    await sql(studio, f"UPDATE jobs SET checkpoint = {harm}")
    first = await worker.take(order.job_id)
    second = await MessageWorker(studio, worker_id="w2").take((await submit(studio, creator)).id)
    assert first.resume is None
    await time_passes(studio, 3)
    again = {each.attempt_id: each.resume for each in await due_orders(studio)}
    assert again == {first.attempt_id: None, second.attempt_id: None}


async def test_an_order_that_cannot_be_signed_is_sent_when_it_can_be(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    unsignable = [f"jobs/{job.id}/"]
    sign = studio.storage.signed_put

    async def signed_put(key: str, **named: Any) -> SignedPut:
        if key.startswith(tuple(unsignable)):
            raise StorageUnavailable("the bucket is away")
        return await sign(key, **named)

    monkeypatch.setattr(studio.storage, "signed_put", signed_put)
    term = await lead(studio)
    assert await dispatch_generation(studio, term, job_id=job.id, worker_id="w1", slot=Slot.RUN) is None
    other = await MessageWorker(studio, worker_id="w2").take((await submit(studio, creator)).id)
    await time_passes(studio, 3)
    assert [order.attempt_id for order in await due_orders(studio)] == [other.attempt_id]
    assert (await get_generation(studio, creator, job.id)).state is JobState.ASSIGNED
    unsignable.clear()
    assert [order.job_id for order in await due_orders(studio)] == [job.id]


async def orders_on(valkey_url: str, worker_id: str) -> list[Order]:
    """What lies on a worker's queue."""
    queues = open_queues(valkey_url)
    try:
        ids = await queues.zrange(Mailbox(worker_id).orders, 0, -1)
        raw = [await queues.get(b"arq:job:" + ident) for ident in ids]
        return [Order.model_validate(from_json(data)["a"][0]) for data in raw if data]
    finally:
        await queues.aclose()


async def test_whoever_leads_sends_an_order_again_that_valkey_lost(
    studio: Studio, worker: MessageWorker, valkey_url: str
) -> None:
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    lost = await worker.take(job.id)  # recorded, and never sent
    await time_passes(studio, 3)
    leading = asyncio.create_task(lead_term(studio, await lead(studio), valkey_url))
    try:
        for _loss in range(2):
            async with asyncio.timeout(30):
                while not (found := await orders_on(valkey_url, worker.worker_id)):
                    await asyncio.sleep(0.02)
            assert [order.attempt_id for order in found] == [lost.attempt_id]
            await studio.wakeups.redis.flushall()
    finally:
        assert await end_tasks(leading, within_s=15)
    assert (await get_generation(studio, creator, job.id)).state is JobState.ASSIGNED


async def test_an_error_that_nobody_foresaw_does_not_end_the_dispatching(
    studio: Studio, worker: MessageWorker, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broke = 0

    async def breaks(*_values: object) -> list[Order]:
        nonlocal broke
        broke += 1
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("jobs.dispatch.due_orders", breaks)
    creator = await make_creator(studio)
    await worker.beat()
    leading = asyncio.create_task(lead_term(studio, await lead(studio), valkey_url))
    try:
        async with asyncio.timeout(30):
            while broke < 2:
                await asyncio.sleep(0.02)
            job = await submit(studio, creator)
            while not await orders_on(valkey_url, worker.worker_id):
                await worker.beat()
                await asyncio.sleep(0.02)
        assert not leading.done()
    finally:
        assert await end_tasks(leading, within_s=15)
    assert (await get_generation(studio, creator, job.id)).state is JobState.ASSIGNED
