"""Payments arrive as signed events, twice, late and out of order: each is taken once, and ledger and money agree."""

import asyncio
import dataclasses
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from backend.api.app import create_app
from backend.auth.principal import Principal
from backend.billing import Catalogue, StripeBilling
from backend.db.engine import Database
from backend.db.models import Account, BillingEventRow
from backend.db.repositories import ledger
from backend.services.accept_billing_event import forget_old_events
from backend.services.cancel_generation import cancel_generation
from backend.services.change_tier import change_tier
from backend.services.create_user import create_user
from backend.services.identify import identify_session
from backend.services.list_ledger import list_ledger
from backend.services.sign_in import sign_in
from backend.studio import Studio
from backend.web_process import WebProcess
from tests.integration.life_rig import (
    MessageWorker,
    empty,
    ledger_is_sound,
    open_test_studio,
    run_to_end,
    submit,
)
from tests.integration.stripe_signer import (
    SECRET,
    charge,
    checkout,
    dispute,
    event,
    failed_refund,
    signature,
    subscription,
)

CATALOGUE = """
fallback_tier = "free"
ignored = ["plink_tshirt"]

[[offers]]
key = "plink_thousand"
title = "1,000 credits"
credits = 1000
expires_after_days = 365

[[offers]]
key = "price_plus"
title = "Plus"
tier = "plus"

[[offers]]
key = "price_pro"
title = "Pro"
tier = "pro"
"""
PASSWORD = "a long enough sentence"
T = 1_760_000_000
_numbers = itertools.count(1)


@pytest.fixture
async def studio(db: Database, valkey_url: str, tmp_path: Path) -> AsyncIterator[Studio]:
    await empty(db)
    path = tmp_path / "catalogue.toml"
    path.write_text(CATALOGUE)
    made = open_test_studio(db, valkey_url, tmp_path / "data")
    made = dataclasses.replace(made, billing=StripeBilling([SECRET], Catalogue(path)))
    yield made
    await ledger_is_sound(made)
    await made.wakeups.close()


@pytest.fixture
async def http(studio: Studio) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(WebProcess(lambda: studio)))
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as client:
        yield client


async def tell(http: httpx.AsyncClient, body: bytes) -> httpx.Response:
    headers = {"stripe-signature": signature(body), "content-type": "application/json"}
    return await http.post("/billing/webhooks/stripe", content=body, headers=headers)


async def told(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await tell(http, body)
    assert (answer.status_code, answer.json()) == (200, {"received": True}), answer.text


async def person(studio: Studio) -> str:
    """The account of somebody in the free tier who has no credits of the month."""
    made = await create_user(studio, email=f"p{next(_numbers)}@example.org", password=PASSWORD)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE grants SET expires_at = now() - interval '1 minute' WHERE account_id = :a"),
            {"a": made.account_id},
        )
        await ledger.expire_grants(session)
    return made.account_id


async def credits_of(studio: Studio, account_id: str) -> tuple[int, int, int]:
    """(available, held, owed)"""
    async with studio.db.reading() as session:
        found = await ledger.standing(session, account_id)
    return found.available, found.held, found.owed


async def tier_of(studio: Studio, account_id: str) -> str:
    async with studio.db.reading() as session:
        return (await session.get_one(Account, account_id, populate_existing=True)).tier


async def sql(studio: Studio, statement: str, **values: object) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text(statement), values)


async def email_of(studio: Studio, account_id: str) -> str:
    async with studio.db.reading() as session:
        query = "SELECT u.email FROM users u JOIN memberships m ON m.user_id = u.id WHERE m.account_id = :a"
        return str((await session.execute(text(query), {"a": account_id})).scalar_one())


async def owner(studio: Studio, account_id: str) -> Principal:
    signed_in = await sign_in(studio, email=await email_of(studio, account_id), password=PASSWORD)
    found = await identify_session(studio, signed_in.token)
    assert found is not None
    return found


# ---- the door ----


async def test_an_event_that_stripe_did_not_sign_is_refused_and_changes_nothing(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    body = event("checkout.session.completed", checkout(account_id))
    for headers in ({}, {"stripe-signature": signature(body, secret="whsec_guess")}):
        answer = await http.post("/billing/webhooks/stripe", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_signature")
    tampered = body.replace(b'"amount_total": 900', b'"amount_total": 901')
    answer = await http.post(
        "/billing/webhooks/stripe", content=tampered, headers={"stripe-signature": signature(body)}
    )
    assert answer.status_code == 400
    assert await credits_of(studio, account_id) == (0, 0, 0)


async def test_an_event_from_before_is_refused(studio: Studio, http: httpx.AsyncClient) -> None:
    body = event("checkout.session.completed", checkout(await person(studio)))
    old = signature(body, at=T)
    answer = await http.post("/billing/webhooks/stripe", content=body, headers={"stripe-signature": old})
    assert answer.status_code == 400


async def test_without_billing_and_for_other_providers_there_is_no_such_address(
    studio: Studio, http: httpx.AsyncClient, db: Database, valkey_url: str, tmp_path: Path
) -> None:
    assert (await http.post("/billing/webhooks/paypal", content=b"{}")).status_code == 404
    plain = open_test_studio(db, valkey_url, tmp_path / "plain")
    transport = httpx.ASGITransport(create_app(WebProcess(lambda: plain)))
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as other:
        assert (await other.post("/billing/webhooks/stripe", content=b"{}")).status_code == 404
    await plain.wakeups.close()


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(http: httpx.AsyncClient) -> None:
    answer = await http.post("/billing/webhooks/stripe", content=b"x" * (2**20 + 1))
    assert answer.status_code == 413


# ---- purchases ----


async def test_a_purchase_is_granted_once_however_often_it_is_told(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    once = event("checkout.session.completed", session)
    await asyncio.gather(*(told(http, once) for _ in range(6)))
    # Another event of the same payment is no other payment.
    await told(http, event("checkout.session.async_payment_succeeded", session))
    assert await credits_of(studio, account_id) == (1000, 0, 0)


async def test_two_purchases_are_two_grants(studio: Studio, http: httpx.AsyncClient) -> None:
    account_id = await person(studio)
    for _ in range(2):
        await told(http, event("checkout.session.completed", checkout(account_id)))
    assert await credits_of(studio, account_id) == (2000, 0, 0)


async def test_a_purchase_without_a_name_is_its_customers(studio: Studio, http: httpx.AsyncClient) -> None:
    account_id = await person(studio)
    await told(http, event("checkout.session.completed", checkout(account_id, customer="cus_1")))
    await told(http, event("checkout.session.completed", checkout(None, customer="cus_1")))
    assert await credits_of(studio, account_id) == (2000, 0, 0)


@pytest.mark.parametrize("who", ["stranger", "nobody"])
async def test_money_for_our_product_from_nobody_we_know_comes_again_until_it_is_mended(
    studio: Studio, http: httpx.AsyncClient, who: str
) -> None:
    body = event("checkout.session.completed", checkout(None if who == "nobody" else "acct_stranger"))
    answer = await tell(http, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unknown_product")
    async with studio.db.reading() as session:
        assert (await session.get(BillingEventRow, f"stripe:{json.loads(body)['id']}")) is None


async def test_a_product_that_the_catalogue_does_not_know_is_taken_once_it_does(
    studio: Studio, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    account_id = await person(studio)
    body = event("checkout.session.completed", checkout(account_id, payment_link="plink_new"))
    assert (await tell(http, body)).status_code == 422
    path = tmp_path / "catalogue.toml"
    path.write_text(CATALOGUE + '\n[[offers]]\nkey = "plink_new"\ntitle = "New"\ncredits = 7\n')
    await told(http, body)
    assert await credits_of(studio, account_id) == (7, 0, 0)


async def test_what_is_ignored_on_purpose_or_of_no_concern_is_taken_and_does_nothing(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    await told(http, event("checkout.session.completed", checkout(account_id, payment_link="plink_tshirt")))
    await told(http, event("checkout.session.completed", checkout(None, payment_link="plink_other_shop")))
    await told(http, event("charge.refunded", charge(checkout(None), 300)))
    await told(http, event("invoice.finalized", {"id": "in_1"}))
    assert await credits_of(studio, account_id) == (0, 0, 0)


# ---- money that goes back ----


async def spend(studio: Studio, account_id: str, *, jobs: int) -> int:
    """So many jobs of the account are delivered; gives what they cost."""
    me = await owner(studio, account_id)
    cost = 0
    for _ in range(jobs):
        job = await submit(studio, me)
        await run_to_end(studio, MessageWorker(studio), job.id)
        cost += job.quoted
    return cost


async def test_a_refund_takes_back_what_is_unspent_and_the_rest_is_owed(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    await told(http, event("checkout.session.completed", session))
    cost = await spend(studio, account_id, jobs=2)
    await told(http, event("charge.refunded", charge(session, 900), created=T + 5))
    assert await credits_of(studio, account_id) == (0, 0, cost)
    # The next purchase pays that first; nothing is available below 0 at any moment.
    await told(http, event("checkout.session.completed", checkout(account_id)))
    assert await credits_of(studio, account_id) == (1000 - cost, 0, 0)


async def test_refunds_in_part_are_sums_and_an_older_one_that_comes_late_changes_nothing(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    await told(http, event("checkout.session.completed", session))
    await told(http, event("charge.refunded", charge(session, 600), created=T + 9))
    await told(http, event("charge.refunded", charge(session, 300), created=T + 5))
    assert await credits_of(studio, account_id) == (334, 0, 0)


async def test_a_refund_that_is_heard_of_before_its_purchase_counts_when_that_comes(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    await told(http, event("charge.refunded", charge(session, 450), created=T + 5))
    await told(http, event("checkout.session.completed", session, created=T))
    assert await credits_of(studio, account_id) == (500, 0, 0)


async def test_a_refund_that_failed_gives_its_credits_again_once_however_often_it_is_told(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    await told(http, event("checkout.session.completed", session))
    await told(http, event("charge.refunded", charge(session, 600), created=T + 5))
    failed = event("refund.failed", failed_refund(session, "re_1", 300), created=T + 9)
    await asyncio.gather(*(told(http, failed) for _ in range(3)))
    # Of 900 paid, 300 went back.
    assert await credits_of(studio, account_id) == (667, 0, 0)


REFUNDS = {
    # What is told of a payment of 900: of refunds (when, in all), of failed ones (when, which, how much); and the
    # credits of 1,000 that are left.
    "the only one failed": ([(5, 300)], [(9, "re_1", 300)], 1000),
    "one of two failed": ([(5, 300), (6, 600)], [(9, "re_1", 300)], 667),
    "one failed before another": ([(5, 300), (9, 300)], [(7, "re_1", 300)], 667),
    "both failed": ([(6, 500)], [(8, "re_1", 300), (9, "re_2", 200)], 1000),
    "one failed, told twice": ([(6, 600)], [(9, "re_1", 300), (9, "re_1", 300)], 667),
    "told again after the next one": ([(8, 600)], [(7, "re_1", 300), (9, "re_1", 300)], 334),
    "failed within its second": ([(5, 300)], [(5, "re_1", 300)], 1000),
    "two of one second": ([(5, 300), (5, 600)], [(5, "re_1", 300)], 667),
}


@pytest.mark.parametrize(("refunds", "failed", "left"), REFUNDS.values(), ids=REFUNDS)
async def test_refunds_and_failed_refunds_leave_the_same_books_in_whatever_order_they_are_told(
    studio: Studio,
    http: httpx.AsyncClient,
    refunds: list[tuple[int, int]],
    failed: list[tuple[int, str, int]],
    left: int,
) -> None:
    account_id = await person(studio)
    for orders, order in enumerate(itertools.permutations(range(1 + len(refunds) + len(failed))), start=1):
        session = checkout(account_id)
        events = [
            event("checkout.session.completed", session),
            *(
                event("charge.refunded", charge(session, total), created=T + second)
                for second, total in refunds
            ),
            *(
                event("refund.failed", failed_refund(session, name, amount), created=T + second)
                for second, name, amount in failed
            ),
        ]
        for index in order:
            await told(http, events[index])
        assert await credits_of(studio, account_id) == (left * orders, 0, 0), order


async def test_a_hold_goes_on_though_its_money_went_back_and_pays_when_it_ends(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    await told(http, event("checkout.session.completed", session))
    me = await owner(studio, account_id)
    job = await submit(studio, me)
    await told(http, event("charge.refunded", charge(session, 900), created=T + 5))
    assert await credits_of(studio, account_id) == (0, job.quoted, job.quoted)
    await cancel_generation(studio, me, job.id)
    assert await credits_of(studio, account_id) == (0, 0, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_dispute_that_is_won_ends_as_it_began_in_whatever_order_it_is_told(
    studio: Studio, http: httpx.AsyncClient, order: tuple[int, ...]
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    await told(http, event("checkout.session.completed", session))
    cost = await spend(studio, account_id, jobs=1)
    events = [
        event("charge.dispute.created", dispute(session), created=T + 1),
        event("charge.dispute.funds_withdrawn", dispute(session), created=T + 1),
        event("charge.dispute.closed", dispute(session, "won"), created=T + 9),
    ]
    for index in order:
        await told(http, events[index])
    assert await credits_of(studio, account_id) == (1000 - cost, 0, 0)


async def test_a_dispute_that_is_lost_takes_everything_and_a_refund_beside_it_no_more(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    await told(http, event("checkout.session.completed", session))
    await told(http, event("charge.refunded", charge(session, 300), created=T + 1))
    await told(http, event("charge.dispute.created", dispute(session), created=T + 2))
    await told(http, event("charge.dispute.closed", dispute(session, "lost"), created=T + 3))
    assert await credits_of(studio, account_id) == (0, 0, 0)


# ---- subscriptions ----


async def subscribe(http: httpx.AsyncClient, account_id: str, *, customer: str = "cus_1") -> None:
    """The checkout that says whose the subscription is."""
    await told(
        http,
        event(
            "checkout.session.completed",
            checkout(account_id, mode="subscription", customer=customer, payment_intent=None),
        ),
    )


async def test_a_subscription_gives_its_tier_and_the_difference_of_the_month_and_its_end_takes_the_tier(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    await subscribe(http, account_id)
    begun = event("customer.subscription.created", subscription("price_plus"), created=T)
    for _ in range(2):
        await told(http, begun)
    assert await tier_of(studio, account_id) == "plus"
    # 2,000 a month, of which the free tier's 200 were had.
    assert await credits_of(studio, account_id) == (1800, 0, 0)
    await told(
        http,
        event("customer.subscription.deleted", subscription("price_plus", status="canceled"), created=T + 9),
    )
    assert await tier_of(studio, account_id) == "free"
    assert await credits_of(studio, account_id) == (1800, 0, 0)


async def test_going_up_and_down_within_a_month_gives_each_difference_once(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    await subscribe(http, account_id)
    for step, price in enumerate(["price_plus", "price_pro", "price_plus", "price_pro"]):
        await told(http, event("customer.subscription.updated", subscription(price), created=T + step))
    assert await tier_of(studio, account_id) == "pro"
    assert await credits_of(studio, account_id) == (10_000 - 200, 0, 0)


async def test_events_of_a_subscription_end_alike_in_whatever_order_they_arrive(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    first = event("customer.subscription.created", subscription("price_plus", status="incomplete"), created=T)
    paid = event("customer.subscription.updated", subscription("price_plus"), created=T, status="incomplete")
    up = event("customer.subscription.updated", subscription("price_pro"), created=T + 60)
    for number, order in enumerate(itertools.permutations([first, paid, up])):
        account_id = await person(studio)
        name = f"cus_{number}"
        bodies = [
            body.replace(b'"cus_1"', f'"{name}"'.encode())
            .replace(b'"sub_1"', f'"sub_{number}"'.encode())
            .replace(b'"id": "evt_', f'"id": "evt_{number}_'.encode())
            for body in order
        ]
        await told(http, bodies[0])
        await subscribe(http, account_id, customer=name)  # whose it is, is told in between
        for body in bodies[1:]:
            await told(http, body)
        assert await tier_of(studio, account_id) == "pro", order


async def test_who_it_is_and_what_they_subscribe_to_may_be_told_at_the_same_moment(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    for number in range(6):
        account_id = await person(studio)
        item = subscription("price_plus", id=f"sub_{number}", customer=f"cus_{number}")
        await asyncio.gather(
            subscribe(http, account_id, customer=f"cus_{number}"),
            told(http, event("customer.subscription.created", item)),
        )
        assert await tier_of(studio, account_id) == "plus"


async def test_with_two_subscriptions_the_better_tier_counts_and_one_end_leaves_the_other(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    await subscribe(http, account_id)
    await told(http, event("customer.subscription.created", subscription("price_pro", id="sub_a")))
    await told(http, event("customer.subscription.created", subscription("price_plus", id="sub_b")))
    assert await tier_of(studio, account_id) == "pro"
    await told(http, event("customer.subscription.deleted", subscription("price_pro", id="sub_a")))
    assert await tier_of(studio, account_id) == "plus"


async def test_a_tier_that_the_operator_chose_is_left_alone(studio: Studio, http: httpx.AsyncClient) -> None:
    account_id = await person(studio)
    email = await email_of(studio, account_id)
    await change_tier(studio, email=email, tier="internal")
    await subscribe(http, account_id)
    await told(http, event("customer.subscription.created", subscription("price_plus")))
    assert await tier_of(studio, account_id) == "internal"
    await change_tier(studio, email=email, tier="free", pin=False)
    await told(http, event("customer.subscription.updated", subscription("price_plus"), created=T + 9))
    assert await tier_of(studio, account_id) == "plus"


async def test_the_ledger_says_where_credits_came_from_and_went(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    session = checkout(account_id)
    await told(http, event("checkout.session.completed", session))
    cost = await spend(studio, account_id, jobs=1)
    await told(http, event("charge.refunded", charge(session, 900), created=T + 5))
    await told(http, event("checkout.session.completed", checkout(account_id)))
    me = await owner(studio, account_id)
    lines = (await list_ledger(studio, me, limit=5)).items
    assert [(line.reason, line.amount) for line in lines] == [
        ("debt_paid", -cost),
        ("grant:purchase", 1000),
        ("money_returned", cost - 1000),
        ("completed", -cost),
        ("grant:purchase", 1000),
    ]


async def test_old_event_ids_are_forgotten_and_a_repeat_still_does_nothing(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    account_id = await person(studio)
    body = event("checkout.session.completed", checkout(account_id))
    await told(http, body)
    await sql(studio, "UPDATE billing_events SET received_at = now() - interval '181 days'")
    async with studio.db.transaction() as session:
        await forget_old_events(session)
    async with studio.db.reading() as session:
        assert (await session.execute(text("SELECT count(*) FROM billing_events"))).scalar_one() == 0
    await told(http, body)
    assert await credits_of(studio, account_id) == (1000, 0, 0)
