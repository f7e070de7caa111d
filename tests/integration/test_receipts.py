"""What a job was quoted, held, charged and given back, and why: in words that agree with the ledger."""

import httpx
import pytest

from backend.api.app import create_app
from backend.auth.principal import Principal
from backend.contracts import FailureCause
from backend.db.models import User
from backend.domain.credits import GrantSource, HoldState
from backend.domain.errors import NotFound
from backend.services.cancel_generation import cancel_generation
from backend.services.create_api_key import create_api_key_for
from backend.services.delete_generation import delete_generation
from backend.services.get_receipt import get_receipt
from backend.services.list_receipts import list_receipts
from backend.services.moderate_generation import moderate_generation
from backend.studio import Studio
from backend.web_process import WebProcess
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    make_creator,
    run_to_end,
    submit,
)


async def end_by(studio: Studio, creator: Principal, way: str) -> str:
    """A job that ended in that way; `open`: one that didn't."""
    worker = MessageWorker(studio)
    job = await submit(studio, creator)
    if way in ("open", "cancelled before it began"):
        if way != "open":
            await cancel_generation(studio, creator, job.id)
        return job.id
    order = await worker.take(job.id)
    if way == "failed":
        await worker.fail(order, FailureCause.BAD_ORDER)
        return job.id
    await worker.step(order, order.spec.num_inference_steps - 2)
    if way == "cancelled partway":
        await cancel_generation(studio, creator, job.id)
        return job.id
    await worker.finish(order)
    review = way == "cancelled in review"
    await moderate_generation(studio, job.id, judge(Verdict.REVIEW if review else Verdict.BLOCK))
    if review:
        await cancel_generation(studio, creator, job.id)
    return job.id


@pytest.mark.parametrize(
    ("way", "outcome", "share", "words"),
    [
        ("open", "held", None, "Nothing is charged before"),
        ("cancelled before it began", "cancelled_unstarted", 0, "Nothing is charged"),
        ("cancelled partway", "cancelled_partway", (-2, 0), "rounded down"),
        ("cancelled in review", "cancelled_in_review", 0, "Nothing is charged"),
        ("failed", "failed", 0, "Nothing is charged"),
        ("blocked", "blocked", 0, "rules"),
    ],
)
async def test_each_end_has_its_receipt(
    studio: Studio, way: str, outcome: str, share: object, words: str
) -> None:
    creator = await make_creator(studio, credits=100)
    receipt = await get_receipt(studio, creator, await end_by(studio, creator, way))
    assert (receipt.outcome, receipt.quoted) == (outcome, receipt.held)
    assert words in receipt.why
    if share is None:
        assert (receipt.state, receipt.charged, receipt.refunded) == (HoldState.OPEN, 0, 0)
        return
    charged = receipt.quoted * (receipt.steps - 2) // receipt.steps if isinstance(share, tuple) else 0
    assert (receipt.charged, receipt.refunded) == (charged, receipt.quoted - charged)
    assert receipt.state is (HoldState.SETTLED if charged else HoldState.RELEASED)
    assert [(part.source, part.held, part.charged) for part in receipt.drawn] == [
        (GrantSource.ADMIN, receipt.quoted, charged)
    ]
    assert receipt.ended_at is not None


async def test_a_delivered_clip_costs_its_quote_and_keeps_its_receipt_when_it_is_deleted(
    studio: Studio,
) -> None:
    creator = await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    await run_to_end(studio, MessageWorker(studio), job.id)
    receipt = await get_receipt(studio, creator, job.id)
    assert (receipt.outcome, receipt.charged, receipt.refunded) == ("delivered", job.quoted, 0)
    await delete_generation(studio, creator, job.id)
    after = await get_receipt(studio, creator, job.id)
    assert (after.charged, after.deleted) == (job.quoted, True)


async def test_receipts_are_listed_newest_first_and_only_ones_own(studio: Studio) -> None:
    creator, other = await make_creator(studio, credits=100), await make_creator(studio, credits=100)
    jobs = [(await submit(studio, creator)).id for _ in range(5)]
    await submit(studio, other)
    first = await list_receipts(studio, creator, limit=3)
    rest = await list_receipts(studio, creator, before=first.items[-1].hold_id, limit=3)
    assert [r.job_id for r in (*first.items, *rest.items)] == jobs[::-1]
    assert (first.has_more, rest.has_more) == (True, False)
    with pytest.raises(NotFound):
        await get_receipt(studio, other, jobs[0])


async def test_the_api_gives_the_receipt_to_its_owner_and_to_nobody_else(studio: Studio) -> None:
    creator, other = await make_creator(studio, credits=100), await make_creator(studio, credits=100)
    job = await submit(studio, creator)
    await cancel_generation(studio, creator, job.id)
    keys = []
    for who in (creator, other):
        async with studio.db.reading() as session:
            email = (await session.get_one(User, who.user_id)).email
        keys.append(await create_api_key_for(studio, email=email))
    transport = httpx.ASGITransport(create_app(WebProcess(lambda: studio)))
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as http:
        path = f"/v1/videos/{job.id}/receipt"
        mine = await http.get(path, headers={"authorization": f"Bearer {keys[0]}"})
        assert (await http.get(path, headers={"authorization": f"Bearer {keys[1]}"})).status_code == 404
        assert (await http.get(path)).status_code == 401
    said = mine.json()
    assert {
        key: said[key]
        for key in ("object", "video_id", "state", "quoted", "held", "charged", "refunded", "reason")
    } == {
        "object": "video.receipt",
        "video_id": job.id,
        "state": "released",
        "quoted": job.quoted,
        "held": job.quoted,
        "charged": 0,
        "refunded": job.quoted,
        "reason": "cancelled_unstarted",
    }
    assert said["priced"]["num_inference_steps"] == job.num_inference_steps
    assert said["drawn"][0]["source"] == "admin"
