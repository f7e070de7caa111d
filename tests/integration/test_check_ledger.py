"""The proof that ledger and jobs agree: silent on a lively world, and naming each thing that is spoilt by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from starlette.requests import Request
from typer.testing import CliRunner

from backend.api.health import prometheus
from backend.contracts import FailureCause
from backend.db.engine import Database
from backend.db.repositories import ledger
from backend.domain.credits import GrantSource
from backend.embedded_postgres import EmbeddedPostgres
from backend.embedded_valkey import EmbeddedValkey
from backend.services.cancel_generation import cancel_generation
from backend.services.check_ledger import Fault, check_ledger, last_check
from backend.services.moderate_generation import moderate_generation
from backend.studio import Studio
from jobs.check_ledger import check_if_due
from moderation.verdict import Verdict
from tests.conftest import _database, short_folder
from tests.integration.life_rig import (
    MessageWorker,
    judge,
    make_creator,
    open_test_studio,
    run_to_end,
    submit,
)


@asynccontextmanager
async def studio_at(url: str, valkey: str, folder: Path) -> AsyncIterator[Studio]:
    db = Database(url, pool_size=3)
    studio = open_test_studio(db, valkey, folder)
    try:
        yield studio
    finally:
        await studio.close()


async def live(studio: Studio) -> None:
    """Jobs in every state, grants that end, and one that ends while a job holds some of it."""
    worker = MessageWorker(studio)
    one, two = await make_creator(studio, credits=40), await make_creator(studio, credits=9)
    async with studio.db.transaction() as session:
        short = await ledger.add_grant(
            session,
            account_id=one.account_id,
            source=GrantSource.PROMOTION,
            amount=5,
            expires_at=await ledger.now_of(session) + timedelta(hours=1),
        )
    held = await submit(studio, one)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE grants SET expires_at = now() - interval '1 minute' WHERE id = :id"),
            {"id": short.id},
        )
        await ledger.expire_grants(session)
    await cancel_generation(studio, one, held.id)
    for creator in (one, two):
        await run_to_end(studio, worker, (await submit(studio, creator)).id)
    blocked = await submit(studio, one)
    order = await worker.take(blocked.id)
    await worker.finish(order)
    await moderate_generation(studio, blocked.id, judge(Verdict.BLOCK))
    failed = await submit(studio, one)
    await worker.fail(await worker.take(failed.id), FailureCause.BAD_ORDER)
    running = await submit(studio, two)
    order = await worker.take(running.id)
    await worker.step(order, 3)
    part = await submit(studio, one)
    other = MessageWorker(studio, worker_id="w2")
    order = await other.take(part.id)
    await other.step(order, order.spec.num_inference_steps - 2)
    await cancel_generation(studio, one, part.id)
    await submit(studio, one)


@pytest.fixture(scope="module")
def lively(postgres: EmbeddedPostgres, _migrated: str, _valkey: EmbeddedValkey) -> Iterator[str]:
    """The name of a database that is only copied."""
    with _database(postgres, _migrated) as url, short_folder() as folder:

        async def make() -> None:
            async with studio_at(url, _valkey.url, folder) as studio:
                await live(studio)

        asyncio.run(make())
        yield url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
async def studio(
    postgres: EmbeddedPostgres, lively: str, valkey_url: str, tmp_path: Path
) -> AsyncIterator[Studio]:
    with _database(postgres, lively) as url:
        async with studio_at(url, valkey_url, tmp_path) as made:
            yield made


async def sql(studio: Studio, *statements: str) -> None:
    async with studio.db.transaction() as session:
        for statement in statements:
            await session.execute(text(statement))


async def test_a_lively_studio_agrees_with_itself(studio: Studio) -> None:
    report = await check_ledger(studio)
    assert (report.total, report.named) == (0, ())
    assert report.checked["jobs"] == report.checked["holds"] == 8
    assert sum(report.books.values()) == 0
    assert {"issued", "available", "held", "spent", "expired"} <= report.books.keys()


async def test_the_size_of_a_window_changes_nothing(studio: Studio) -> None:
    whole, small = await check_ledger(studio), await check_ledger(studio, window=1)
    assert (small.checked, small.books, small.total) == (whole.checked, whole.books, 0)


_A_GRANT = "(SELECT id FROM grants ORDER BY id LIMIT 1)"
_DONE = (
    "(SELECT h.id FROM holds h JOIN jobs j ON j.id = h.job_id WHERE j.state = 'completed' ORDER BY 1 LIMIT 1)"
)
_DONE_JOB = "(SELECT id FROM jobs WHERE state = 'completed' ORDER BY id LIMIT 1)"
_OPEN = "(SELECT id FROM holds WHERE state = 'open' ORDER BY id LIMIT 1)"
_COPY = (
    "INSERT INTO ledger_entries (transaction_id, account_id, book, amount, grant_id, hold_id, reason)"
    " SELECT {id}, account_id, book, amount, grant_id, hold_id, reason FROM ledger_entries"
)


@pytest.mark.parametrize(
    ("fault", "spoilt"),
    [
        (
            Fault.TRANSACTION_UNBALANCED,
            ["UPDATE ledger_entries SET amount = amount + 1 WHERE id = (SELECT max(id) FROM ledger_entries)"],
        ),
        (
            Fault.TRANSACTION_MIXED,
            [
                "UPDATE ledger_entries e SET account_id = (SELECT id FROM accounts a WHERE a.id <> e.account_id"
                " LIMIT 1) WHERE id = (SELECT max(id) FROM ledger_entries)"
            ],
        ),
        (Fault.GRANT_REMAINING, [f"UPDATE grants SET remaining = remaining - 1 WHERE id = {_A_GRANT}"]),
        (Fault.GRANT_ISSUED, [f"UPDATE grants SET amount = amount + 1 WHERE id = {_A_GRANT}"]),
        (Fault.GRANT_HELD, [f"UPDATE hold_draws SET amount = amount + 1 WHERE hold_id = {_OPEN}"]),
        (Fault.GRANT_EXPIRED, [f"UPDATE grants SET expired = expired + 1 WHERE id = {_A_GRANT}"]),
        (Fault.GRANT_OWED, [f"UPDATE grants SET reversed = 1, owed = 1 WHERE id = {_A_GRANT}"]),
        (
            Fault.AVAILABLE_NEGATIVE,
            [
                "UPDATE ledger_entries SET amount = CASE book WHEN 'available' THEN -9999 ELSE 9999 END"
                " WHERE reason = 'hold' AND hold_id = " + _DONE
            ],
        ),
        (
            Fault.ENTRY_OF_ANOTHER_ACCOUNT,
            [
                "UPDATE ledger_entries e SET account_id = (SELECT id FROM accounts a WHERE a.id <> e.account_id"
                " LIMIT 1) WHERE hold_id = " + _DONE
            ],
        ),
        (Fault.HOLD_DRAWS, [f"DELETE FROM hold_draws WHERE hold_id = {_DONE}"]),
        (
            Fault.HOLD_ENTRIES,
            [f"DELETE FROM ledger_entries WHERE reason = 'completed' AND hold_id = {_DONE}"],
        ),
        (
            Fault.HOLD_ENDED_TWICE,
            [_COPY.format(id="'twice'") + f" WHERE reason = 'completed' AND hold_id = {_DONE}"],
        ),
        (
            Fault.HOLD_WITHOUT_JOB,
            [
                "ALTER TABLE holds DROP CONSTRAINT holds_job_id_fkey",
                f"UPDATE holds SET job_id = 'video_gone' WHERE id = {_OPEN}",
            ],
        ),
        (
            Fault.HOLD_OUTLIVES_JOB,
            ["UPDATE jobs SET state = 'failed' WHERE state = 'running'"],
        ),
        (Fault.HOLD_ENDED_EARLY, [f"UPDATE jobs SET state = 'running' WHERE id = {_DONE_JOB}"]),
        (Fault.HOLD_QUOTE, [f"UPDATE jobs SET quoted = quoted - 1 WHERE id = {_DONE_JOB}"]),
        (Fault.JOB_CHARGE, [f"UPDATE jobs SET charged = charged - 1 WHERE id = {_DONE_JOB}"]),
        (
            Fault.JOB_CHARGE,
            [
                f"UPDATE jobs SET charged = 0 WHERE id = {_DONE_JOB}",
                f"UPDATE holds SET charged = 0 WHERE id = {_DONE}",
                "UPDATE ledger_entries SET book = 'available' WHERE book = 'spent' AND hold_id = " + _DONE,
            ],
        ),
        (
            Fault.JOB_WITHOUT_HOLD,
            [
                "ALTER TABLE holds DROP CONSTRAINT holds_job_id_fkey",
                f"UPDATE holds SET job_id = 'video_gone' WHERE id = {_OPEN}",
            ],
        ),
    ],
    ids=lambda value: value.value if isinstance(value, Fault) else "",
)
async def test_what_is_spoilt_is_named(studio: Studio, fault: Fault, spoilt: list[str]) -> None:
    await sql(
        studio,
        "ALTER TABLE grants DROP CONSTRAINT grants_remaining_bounded",
        "ALTER TABLE holds DROP CONSTRAINT holds_charge_bounded",
        *spoilt,
    )
    report = await check_ledger(studio)
    named = [found for found in report.named if found.fault is fault]
    assert named, [found.fault for found in report.named]
    assert all(found.subject and found.account_id and found.words for found in named)
    assert report.total == len(report.named)


async def test_the_last_check_is_kept_and_shown_to_prometheus(studio: Studio) -> None:
    await sql(studio, f"UPDATE grants SET expired = expired + 1 WHERE id = {_A_GRANT}")
    await check_ledger(studio)
    kept = await last_check(studio)
    assert kept is not None
    assert kept.disagreements == 1

    asked = Request({"type": "http", "headers": [], "client": ("127.0.0.1", 1)})
    answer = await prometheus(asked, studio)
    families = text_string_to_metric_families(bytes(answer.body).decode())
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert values["zoetrope_ledger_disagreements"] == 1
    assert values["zoetrope_ledger_checked_timestamp_seconds"] == pytest.approx(kept.ended_at.timestamp())


async def test_the_nightly_check_runs_once_a_night(studio: Studio) -> None:
    assert await check_if_due(studio)
    assert not await check_if_due(studio)
    await sql(studio, "UPDATE ledger_checks SET started_at = started_at - interval '1 day'")
    assert await check_if_due(studio)


def test_the_command_names_what_disagrees_and_exits_with_1(
    postgres: EmbeddedPostgres, lively: str, valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.cli import app

    with _database(postgres, lively) as url:
        for name, value in {"DATABASE_URL": url, "REDIS_URL": valkey_url, "DATA_DIR": str(tmp_path)}.items():
            monkeypatch.setenv(f"ZOETROPE_{name}", value)
        sound = CliRunner().invoke(app, ["ledger", "check", "--json"])
        assert sound.exit_code == 0, sound.output
        assert json.loads(sound.stdout)["ok"] is True

        async def spoil() -> None:
            async with studio_at(url, valkey_url, tmp_path) as studio:
                await sql(studio, f"UPDATE grants SET expired = expired + 1 WHERE id = {_A_GRANT}")

        asyncio.run(spoil())
        spoilt = CliRunner().invoke(app, ["ledger", "check"])
        assert spoilt.exit_code == 1
        assert "grant_expired grant_" in spoilt.stdout
        assert "1 disagreements" in spoilt.stdout
