"""Grants on the real database: what a hold draws on, what expiry takes, what comes back, and each month's credits."""

import asyncio
import dataclasses
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import col, select
from typer.testing import CliRunner

from backend.auth.principal import Principal
from backend.db.engine import Database
from backend.db.models import Account, Grant, HoldDraw, NetworkShare
from backend.db.repositories import ledger
from backend.domain.credits import RETURN_GRACE, GrantSource, draw, month_begins
from backend.domain.errors import InsufficientCredits
from backend.services.cancel_generation import cancel_generation
from backend.services.confirm_email import confirm_email
from backend.services.create_invitation import create_invitation
from backend.services.create_user import create_user
from backend.services.get_account import get_account
from backend.services.identify import identify_session
from backend.services.list_ledger import list_ledger
from backend.services.note_network import forget_networks
from backend.services.open_session import SignedIn
from backend.services.publish_generation import publish_generation
from backend.services.renew_credits import renew_credits, renew_month
from backend.services.sign_in import sign_in
from backend.services.sign_up import sign_up
from backend.settings import SignupMode
from backend.studio import Studio
from jobs.expire import expire_once
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    make_creator,
    moderate_generation,
    run_to_end,
    submit,
)

PASSWORD = "a long enough sentence"


async def sql(studio: Studio, statement: str, **values: object) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text(statement), values)


async def give(studio: Studio, creator: Principal, amount: int, *, hours: float | None = None) -> str:
    async with studio.db.transaction() as session:
        now = await ledger.now_of(session)
        grant = await ledger.add_grant(
            session,
            account_id=creator.account_id,
            source=GrantSource.PROMOTION,
            amount=amount,
            expires_at=None if hours is None else now + timedelta(hours=hours),
        )
    return grant.id


async def grant_row(studio: Studio, grant_id: str) -> Grant:
    async with studio.db.reading() as session:
        return await session.get_one(Grant, grant_id)


async def end_now(studio: Studio, grant_id: str) -> None:
    await sql(
        studio, "UPDATE grants SET expires_at = now() - interval '1 minute' WHERE id = :id", id=grant_id
    )


async def balance(studio: Studio, account_id: str) -> tuple[int, int]:
    async with studio.db.reading() as session:
        return await ledger.balance(session, account_id)


async def account_row(studio: Studio, account_id: str) -> Account:
    async with studio.db.reading() as session:
        return await session.get_one(Account, account_id)


async def begin_a_month(studio: Studio, account_id: str) -> None:
    """As if nothing had been given since January 2020."""
    await sql(studio, "UPDATE accounts SET credited_month = '2020-01' WHERE id = :id", id=account_id)
    await sql(
        studio,
        "UPDATE grants SET external_ref = 'monthly:' || account_id || :then,"
        " expires_at = now() - interval '1 minute' WHERE account_id = :id AND source = 'monthly'",
        id=account_id,
        then=":2020-01",
    )
    await sql(studio, "DELETE FROM network_shares WHERE account_id = :id", id=account_id)


# ---- holds and expiry ----


async def test_a_hold_keeps_what_it_drew_on_for_its_job_though_the_grant_expires(studio: Studio) -> None:
    creator = await make_creator(studio, credits=0)
    grant_id = await give(studio, creator, 50, hours=1)
    job = await submit(studio, creator)
    await end_now(studio, grant_id)
    await expire_once(studio)
    assert await balance(studio, creator.account_id) == (0, job.quoted)
    await run_to_end(studio, MessageWorker(studio), job.id)
    after = await grant_row(studio, grant_id)
    assert (after.remaining, after.expired) == (0, 50 - job.quoted)
    assert await balance(studio, creator.account_id) == (0, 0)


@pytest.mark.parametrize("written_off_before", [True, False])
async def test_what_comes_back_after_the_end_is_usable_for_a_day_and_nothing_else_is(
    studio: Studio, written_off_before: bool
) -> None:
    creator = await make_creator(studio, credits=0)
    grant_id = await give(studio, creator, 50, hours=1)
    job = await submit(studio, creator)
    await end_now(studio, grant_id)
    if written_off_before:
        await expire_once(studio)
    await cancel_generation(studio, creator, job.id)
    after = await grant_row(studio, grant_id)
    assert (after.remaining, after.expired, after.extended) == (job.quoted, 50 - job.quoted, True)
    assert after.expires_at is not None
    left = after.expires_at - datetime.now(UTC)
    assert RETURN_GRACE - timedelta(minutes=1) < left <= RETURN_GRACE
    assert (await submit(studio, creator)).quoted == job.quoted


async def test_a_cancelled_job_pays_its_steps_from_what_expires_first(studio: Studio) -> None:
    creator = await make_creator(studio, credits=0)
    price = (await submit(studio, await make_creator(studio))).quoted
    assert price >= 2
    late = await give(studio, creator, 50, hours=9)
    soon = await give(studio, creator, price - 1, hours=1)
    job = await submit(studio, creator)
    worker = MessageWorker(studio)
    order = await worker.take(job.id)
    await worker.step(order, order.spec.num_inference_steps - 1)
    ended = await cancel_generation(studio, creator, job.id)
    assert ended.charged == price * (job.num_inference_steps - 1) // job.num_inference_steps
    left = {row.id: row.remaining for row in [await grant_row(studio, g) for g in (soon, late)]}
    assert left == {soon: price - 1 - ended.charged, late: 50}


async def test_a_submission_draws_exactly_as_the_domain_says(studio: Studio) -> None:
    chance = random.Random(3)
    price = (await submit(studio, await make_creator(studio))).quoted
    for _ in range(12):
        creator = await make_creator(studio, credits=0)
        for _ in range(chance.randint(1, 5)):
            hours = chance.choice([None, 1, 1, 2, 30])
            await give(studio, creator, chance.randint(1, price), hours=hours)
        async with studio.db.reading() as session:
            query = select(Grant).where(Grant.account_id == creator.account_id)
            before = [ledger.state_of(grant) for grant in await session.exec(query)]
        try:
            wanted = draw(before, price, now=datetime.now(UTC))
        except InsufficientCredits:
            with pytest.raises(InsufficientCredits):
                await submit(studio, creator)
            continue
        await submit(studio, creator)
        async with studio.db.reading() as session:
            rows = await session.exec(
                select(HoldDraw)
                .where(col(HoldDraw.grant_id).in_([g.grant_id for g in before]))
                .order_by(col(HoldDraw.position))
            )
            assert [(row.grant_id, row.amount) for row in rows] == [(d.grant_id, d.amount) for d in wanted]


async def test_holds_that_begin_and_end_at_once_never_wait_for_each_other(studio: Studio) -> None:
    """Grants whose order by id is not their order by end: locks taken in two orders would be a deadlock."""
    creator = await make_creator(studio, credits=0, tier="internal")
    price = (await submit(studio, await make_creator(studio))).quoted
    for hours in (40, 30, 20, 10):
        await give(studio, creator, 3 * price - 1, hours=hours)
    for _ in range(4):
        jobs = await asyncio.gather(*(submit(studio, creator) for _ in range(5)))
        await asyncio.gather(
            *(cancel_generation(studio, creator, job.id) for job in jobs),
            *(give(studio, creator, 1, hours=1) for _ in range(3)),
            submit(studio, creator),
        )
    available, held = await balance(studio, creator.account_id)
    assert (available + held, held) == (4 * (3 * price - 1) + 12, 4 * price)


async def test_publishing_and_cancelling_at_once_end_the_hold_once(studio: Studio) -> None:
    creator = await make_creator(studio, credits=100)
    worker = MessageWorker(studio)
    for _ in range(5):
        job = await submit(studio, creator)
        order = await worker.take(job.id)
        await worker.finish(order)
        await moderate_generation(studio, job.id, judge(Verdict.ALLOW))
        await asyncio.gather(
            publish_generation(studio, job.id),
            cancel_generation(studio, creator, job.id),
            publish_generation(studio, job.id),
            return_exceptions=True,
        )
    assert await balance(studio, creator.account_id) == (100 - 5 * job.quoted, 0)


async def end_of_cancelled(studio: Studio, job_id: str, *, charge: int) -> bool:
    async with studio.db.transaction() as session:
        return await ledger.end_hold(session, job_id, charge=charge, reason="cancelled")


async def cancelled_past_its_hold(studio: Studio, creator: Principal) -> str:
    """A job that was cancelled for 1 credit, and whose hold is still open."""
    job = await submit(studio, creator)
    statement = "UPDATE jobs SET state = 'cancelled', ended_at = now(), charged = 1 WHERE id = :id"
    await sql(studio, statement, id=job.id)
    return job.id


async def books(studio: Studio) -> list[list[tuple[object, ...]]]:
    """Every line, grant and hold."""
    found = []
    async with studio.db.reading() as session:
        for table in ("ledger_entries", "grants", "holds"):
            rows = (await session.execute(text(f"SELECT * FROM {table} ORDER BY id"))).all()
            found.append([tuple(row) for row in rows])
    return found


async def test_a_hold_that_ended_does_not_end_again(studio: Studio) -> None:
    creator = await make_creator(studio, credits=100)
    job_id = await cancelled_past_its_hold(studio, creator)
    assert await end_of_cancelled(studio, job_id, charge=1)
    ended = await books(studio)
    for charge in (1, 0, 2):
        assert not await end_of_cancelled(studio, job_id, charge=charge)
        assert await books(studio) == ended
    assert await balance(studio, creator.account_id) == (99, 0)


async def test_of_many_ends_of_a_hold_at_once_one_counts(studio: Studio) -> None:
    creator = await make_creator(studio, credits=100)
    job_id = await cancelled_past_its_hold(studio, creator)
    ends = await asyncio.gather(*(end_of_cancelled(studio, job_id, charge=1) for _ in range(4)))
    assert sorted(ends) == [False, False, False, True]
    assert await balance(studio, creator.account_id) == (99, 0)


async def test_many_ended_grants_are_written_off_and_busy_accounts_left_for_the_next_time(
    studio: Studio,
) -> None:
    creators = [await make_creator(studio, credits=0) for _ in range(3)]
    for creator in creators:
        for _ in range(3):
            await end_now(studio, await give(studio, creator, 5, hours=1))
    async with studio.db.transaction() as busy:
        await ledger.lock_account(busy, creators[0].account_id)
        async with studio.db.transaction() as session:
            assert await ledger.expire_grants(session, limit=4) == 4
        async with studio.db.transaction() as session:
            assert await ledger.expire_grants(session, limit=4) == 2
    async with studio.db.transaction() as session:
        assert await ledger.expire_grants(session) == 3
        assert await ledger.expire_grants(session) == 0


async def test_a_submission_keeps_nobody_from_writing_rows_that_refer_to_its_account(studio: Studio) -> None:
    creator, friend = await make_creator(studio), await make_creator(studio)
    asked = {
        "account_id": creator.account_id,
        "retried": False,
        "month_looked_at": True,
        "queue_limit": 0,
        "daily_jobs": 0,
        "quoted": 1,
    }
    async with studio.db.transaction() as submitting:
        await submitting.execute(
            text("SELECT submit_generation_v1(CAST(:p AS jsonb))"), {"p": json.dumps(asked)}
        )
        async with studio.db.transaction() as other:
            await other.execute(text("SET LOCAL lock_timeout = '2s'"))
            await other.execute(
                text("INSERT INTO memberships (account_id, user_id, role) VALUES (:a, :u, 'member')"),
                {"a": creator.account_id, "u": friend.user_id},
            )


async def test_a_reference_from_outside_is_given_once(studio: Studio) -> None:
    creator = await make_creator(studio, credits=0)
    new = ledger.NewGrant(
        account_id=creator.account_id,
        source=GrantSource.MONTHLY,
        amount=5,
        expires_at=None,
        external_ref="monthly:x:2026-05",
    )
    for given in (1, 0):
        async with studio.db.transaction() as session:
            await ledger.lock_account(session, creator.account_id)
            assert await ledger.add_grants(session, [new]) == given
    assert await balance(studio, creator.account_id) == (5, 0)


def test_the_command_gives_credits_with_an_end_and_a_source(
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
    assert run(app, ["users", "create", "--email", "a@example.org", "--password", PASSWORD]).exit_code == 0
    given = run(
        app, ["credits", "grant", "--email", "a@example.org", "--amount", "5", "--days", "3", "--gift"]
    )
    assert given.exit_code == 0, given.output

    async def newest() -> Grant:
        db = Database(studio.db.url, pool_size=1)
        async with db.reading() as session:
            found = (await session.exec(select(Grant).order_by(col(Grant.id).desc()).limit(1))).one()
        await db.close()
        return found

    grant = asyncio.run(newest())
    assert (grant.amount, grant.source) == (5, "promotion")
    assert grant.expires_at is not None
    assert timedelta(days=2) < grant.expires_at - datetime.now(UTC) < timedelta(days=4)


# ---- months ----


async def test_the_month_is_given_when_somebody_submits_before_the_round_came(studio: Studio) -> None:
    made = await create_user(studio, email="a@example.org", password=PASSWORD, tier="plus")
    me = await principal(studio, await sign_in(studio, email="a@example.org", password=PASSWORD))
    bought = await give(studio, me, 40)
    await begin_a_month(studio, made.account_id)
    job = await submit(studio, me)
    # The month's credits end sooner than those that were bought, so they are spent first.
    assert (await grant_row(studio, bought)).remaining == 40
    assert await balance(studio, made.account_id) == (2_040 - job.quoted, job.quoted)


async def test_the_month_is_given_and_the_last_one_written_off_when_the_account_is_read(
    studio: Studio,
) -> None:
    made = await create_user(studio, email="a@example.org", password=PASSWORD)
    me = await principal(studio, await sign_in(studio, email="a@example.org", password=PASSWORD))
    await begin_a_month(studio, made.account_id)
    assert (await get_account(studio, me)).available == 200
    lines = (await list_ledger(studio, me)).items
    assert [(line.amount, line.balance) for line in lines] == [(200, 200), (-200, 0), (200, 200)]


async def test_a_months_credits_end_with_the_month_unless_the_tier_keeps_them(studio: Studio) -> None:
    await sql(studio, "UPDATE tiers SET rollover_months = 2 WHERE name = 'pro'")
    ends = {}
    for tier in ("plus", "pro"):
        made = await create_user(studio, email=f"{tier}@example.org", tier=tier)
        async with studio.db.reading() as session:
            grant = (await session.exec(select(Grant).where(Grant.account_id == made.account_id))).one()
        ends[tier] = grant.expires_at
    await sql(studio, "UPDATE tiers SET rollover_months = 0 WHERE name = 'pro'")
    now = datetime.now(UTC)
    assert ends == {"plus": month_begins(now, months=1), "pro": month_begins(now, months=3)}


async def test_everybody_asking_at_once_gives_one_month(studio: Studio) -> None:
    made = await create_user(studio, email="a@example.org", password=PASSWORD)
    me = await principal(studio, await sign_in(studio, email="a@example.org", password=PASSWORD))
    await begin_a_month(studio, made.account_id)
    await asyncio.gather(
        *(renew_credits(studio, made.account_id) for _ in range(4)),
        *(renew_month(studio) for _ in range(4)),
        *(get_account(studio, me) for _ in range(4)),
        submit(studio, me),
    )
    available, held = await balance(studio, made.account_id)
    assert available + held == 200


async def test_the_round_gives_the_month_to_all_in_batches(studio: Studio) -> None:
    made = [await create_user(studio, email=f"a{n}@example.org") for n in range(7)]
    for account in made:
        await begin_a_month(studio, account.account_id)
    assert [await renew_month(studio, limit=3) for _ in range(4)] == [3, 3, 1, 0]
    for account in made:
        await renew_credits(studio, account.account_id)
        assert await balance(studio, account.account_id) == (200, 0)


# ---- free credits: a confirmed address, a share a network ----


def open_to_all(studio: Studio) -> Studio:
    return dataclasses.replace(
        studio, settings=studio.settings.model_copy(update={"signup": SignupMode.OPEN})
    )


class Post:
    """A mailer that keeps its letters."""

    enabled = True

    def __init__(self) -> None:
        self.letters: list[str] = []

    async def send(self, letter: object) -> None:
        self.letters.append(str(getattr(letter, "text", "")))

    @property
    def token(self) -> str:
        return self.letters[-1].partition("token=")[2].split()[0]


async def principal(studio: Studio, signed_in: SignedIn) -> Principal:
    found = await identify_session(studio, signed_in.token)
    assert found is not None
    return found


async def join(studio: Studio, email: str, address: str, *, invitation: str = "") -> str:
    """Sign up and answer the letter, if there is one; gives the account."""
    post = Post()
    door = dataclasses.replace(open_to_all(studio), mailer=post)
    done = await sign_up(door, email=email, password=PASSWORD, address=address, invitation=invitation)
    signed_in = done.signed_in or await confirm_email(
        door, token=post.token, password=PASSWORD, address=address
    )
    return signed_in.account_id


async def test_free_credits_wait_for_the_letters_answer(studio: Studio) -> None:
    post = Post()
    door = dataclasses.replace(open_to_all(studio), mailer=post)
    await sign_up(door, email="a@example.org", password=PASSWORD, address="203.0.113.7")
    async with studio.db.reading() as session:
        account = (await session.exec(select(Account))).one()
    assert (account.withheld, await balance(studio, account.id)) == ("unconfirmed", (0, 0))
    await renew_month(studio)
    assert await balance(studio, account.id) == (0, 0)
    await confirm_email(door, token=post.token, password=PASSWORD, address="203.0.113.7")
    assert (await account_row(studio, account.id)).withheld == ""
    assert await balance(studio, account.id) == (200, 0)


async def test_without_mail_an_invitation_stands_for_the_address_and_nothing_else_does(
    studio: Studio,
) -> None:
    door = open_to_all(studio)
    alone = await sign_up(door, email="a@example.org", password=PASSWORD, address="203.0.113.7")
    code = (await create_invitation(studio)).partition("invitation=")[2]
    asked = await sign_up(door, email="b@example.org", password=PASSWORD, invitation=code)
    assert alone.signed_in is not None
    assert asked.signed_in is not None
    assert await balance(studio, alone.signed_in.account_id) == (0, 0)
    assert (await account_row(studio, alone.signed_in.account_id)).withheld == "unconfirmed"
    assert await balance(studio, asked.signed_in.account_id) == (200, 0)


async def test_many_accounts_of_one_network_make_only_so_many_shares(studio: Studio) -> None:
    accounts = await asyncio.gather(*(join(studio, f"a{n}@example.org", f"203.0.113.{n}") for n in range(8)))
    given = [account for account in accounts if await balance(studio, account) == (200, 0)]
    assert len(given) == 5
    refused = next(account for account in accounts if account not in given)
    assert (await account_row(studio, refused)).withheld == "network_full"
    elsewhere = await join(studio, "b@example.org", "198.51.100.1")
    assert await balance(studio, elsewhere) == (200, 0)


async def test_the_next_month_has_the_same_limit_by_round_as_by_sign_up(studio: Studio) -> None:
    accounts = [await join(studio, f"a{n}@example.org", f"203.0.113.{n}") for n in range(7)]
    for account in accounts:
        await begin_a_month(studio, account)
    await asyncio.gather(*(renew_month(studio, limit=2) for _ in range(6)))
    while await renew_month(studio):
        pass
    assert len([account for account in accounts if (await account_row(studio, account)).withheld == ""]) == 5


async def test_people_who_were_asked_in_do_not_count_by_network(studio: Studio) -> None:
    for n in range(7):
        code = (await create_invitation(studio)).partition("invitation=")[2]
        account = await join(studio, f"a{n}@example.org", f"203.0.113.{n}", invitation=code)
        assert await balance(studio, account) == (200, 0)


async def test_a_network_is_kept_as_a_hash_and_only_for_a_while(studio: Studio) -> None:
    account_id = await join(studio, "a@example.org", "203.0.113.7")
    account = await account_row(studio, account_id)
    assert account.network is not None
    assert "203" not in str(account.network)[:3]
    async with studio.db.reading() as session:
        shares = (await session.exec(select(NetworkShare))).all()
    assert [share.network for share in shares] == [account.network]
    await sql(studio, "UPDATE accounts SET network_seen_at = now() - interval '101 days'")
    await sql(studio, "UPDATE network_shares SET created_at = now() - interval '101 days'")
    async with studio.db.transaction() as session:
        await forget_networks(session)
    assert (await account_row(studio, account_id)).network is None
    async with studio.db.reading() as session:
        assert (await session.exec(select(NetworkShare))).all() == []
    # Nobody signed in for that long: the month waits for the next time, and comes with it.
    await begin_a_month(studio, account_id)
    await renew_credits(studio, account_id)
    assert (await account_row(studio, account_id)).withheld == "network_unknown"
    await sign_in(studio, email="a@example.org", password=PASSWORD, address="203.0.113.7")
    assert await balance(studio, account_id) == (200, 0)


# ---- the ledger's pages ----


async def test_pages_of_the_ledger_cut_no_transaction_and_their_balances_add_up(studio: Studio) -> None:
    creator = await make_creator(studio, credits=0)
    price = (await submit(studio, await make_creator(studio))).quoted
    worker = MessageWorker(studio)
    for _ in range(5):
        for _ in range(price):
            await give(studio, creator, 1, hours=5)  # each job draws on many grants: many lines a transaction
        job = await submit(studio, creator)
        await run_to_end(studio, worker, job.id)
    whole = (await list_ledger(studio, creator, limit=100)).items
    assert [line.amount for line in whole].count(-price) == 5
    balance_after = 0
    for line in reversed(whole):
        balance_after += line.amount
        assert line.balance == balance_after
    paged, before = [], 0
    while True:
        page = await list_ledger(studio, creator, before=before, limit=3)
        paged += page.items
        if not page.has_more:
            break
        before = page.items[-1].id
    assert tuple(paged) == whole
