"""The same ledger on real Postgres: use cases in any order, by several accounts, and what they must leave behind."""

import asyncio
import dataclasses
import itertools
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from backend.auth.principal import Principal
from backend.billing import Catalogue, StripeBilling
from backend.contracts import FailureCause
from backend.db.engine import Database
from backend.db.repositories import ledger
from backend.domain.credits import GrantSource
from backend.domain.errors import Conflict, InsufficientCredits
from backend.domain.generation import JobState
from backend.domain.pricing import partial_charge
from backend.services.accept_billing_event import accept_billing_event
from backend.services.cancel_generation import cancel_generation
from backend.services.check_ledger import check_ledger
from backend.services.delete_generation import delete_generation
from backend.services.generation_request import GenerationRequest
from backend.services.get_generation import get_generation
from backend.services.moderate_generation import moderate_generation
from backend.services.publish_generation import publish_generation
from backend.services.submit_generation import submit_generation
from backend.studio import Studio
from moderation.verdict import Verdict
from tests.integration.life_rig import MessageWorker, judge, make_creator, open_test_studio
from tests.integration.stripe_signer import SECRET, charge, checkout, event, signature

T = TypeVar("T")
CATALOGUE = '[[offers]]\nkey = "plink_thousand"\ntitle = "Some credits"\ncredits = 40\n'
_workers = itertools.count(1)
_seconds = itertools.count(1_760_000_000)


@dataclass(frozen=True)
class Sent:
    """A job that was accepted, and the worker that has it."""

    owner: Principal
    job_id: str
    quoted: int
    worker: MessageWorker


class Machine(RuleBasedStateMachine):
    """Two accounts. `spent` is what the rules say that they have paid by now."""

    url: ClassVar[str]
    valkey: ClassVar[str]
    folder: ClassVar[Path]

    waiting = Bundle("waiting")
    running = Bundle("running")
    made = Bundle("made")
    ended = Bundle("ended")
    bought = Bundle("bought")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        path = self.folder / "catalogue.toml"
        path.write_text(CATALOGUE)
        plain = open_test_studio(Database(self.url, pool_size=2), self.valkey, self.folder)
        self.studio: Studio = dataclasses.replace(plain, billing=StripeBilling([SECRET], Catalogue(path)))
        self.people = [self.run(make_creator(self.studio, credits=0, tier="internal")) for _ in range(2)]
        self.spent = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        report = self.run(check_ledger(self.studio))
        self.run(self.studio.close())
        self.loop.close()
        assert report.named == ()

    async def sql(self, statement: str, **values: object) -> Any:
        async with self.studio.db.transaction() as session:
            return (await session.execute(text(statement), values)).all()

    # ---- credits come and go ----

    @rule(who=st.integers(0, 1), amount=st.integers(1, 30), hours=st.one_of(st.none(), st.integers(1, 48)))
    def give(self, who: int, amount: int, hours: int | None) -> None:
        async def work() -> None:
            async with self.studio.db.transaction() as session:
                end = None
                if hours is not None:
                    end = await session.scalar(
                        text("SELECT now() + make_interval(hours => :h)"), {"h": hours}
                    )
                await ledger.add_grant(
                    session,
                    account_id=self.people[who].account_id,
                    source=GrantSource.PROMOTION,
                    amount=amount,
                    expires_at=end,
                )

        self.run(work())

    @rule(target=bought, who=st.integers(0, 1))
    def buy(self, who: int) -> dict[str, Any]:
        session = checkout(self.people[who].account_id)
        self.tell(event("checkout.session.completed", session, created=next(_seconds)))
        return session

    @rule(session=bought, refunded=st.integers(0, 900))
    def refund(self, session: dict[str, Any], refunded: int) -> None:
        self.tell(event("charge.refunded", charge(session, refunded), created=next(_seconds)))

    def tell(self, body: bytes) -> None:
        headers = {"stripe-signature": signature(body)}
        self.run(accept_billing_event(self.studio, body, headers))
        self.run(accept_billing_event(self.studio, body, headers))

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        """Time passes for grants: they end sooner."""
        ids = [person.account_id for person in self.people]
        self.run(
            self.sql(
                "UPDATE grants SET expires_at = expires_at - make_interval(hours => :h)"
                " WHERE account_id = ANY(:ids) RETURNING id",
                h=hours,
                ids=ids,
            )
        )

    @rule()
    def write_off(self) -> None:
        async def work() -> None:
            async with self.studio.db.transaction() as session:
                await ledger.expire_grants(session)

        self.run(work())

    # ---- the life of a job ----

    @rule(target=waiting, who=st.integers(0, 1), steps=st.integers(4, 60))
    def submit(self, who: int, steps: int) -> object:
        owner = self.people[who]
        request = GenerationRequest(prompt="a red circle", num_inference_steps=steps)
        try:
            job = self.run(submit_generation(self.studio, owner, request))
        except InsufficientCredits:
            return multiple()
        worker = MessageWorker(self.studio, worker_id=f"machine{next(_workers)}")
        return Sent(owner=owner, job_id=job.id, quoted=job.quoted, worker=worker)

    @rule(target=running, sent=consumes(waiting), step=st.integers(0, 60))
    def start(self, sent: Sent, step: int) -> Sent:
        order = self.run(sent.worker.take(sent.job_id))
        self.run(sent.worker.step(order, min(step, order.spec.num_inference_steps)))
        return sent

    @rule(target=made, sent=consumes(running))
    def finish(self, sent: Sent) -> Sent:
        self.run(sent.worker.finish(sent.worker.orders[-1]))
        return sent

    @rule(target=ended, sent=consumes(running))
    def fail(self, sent: Sent) -> Sent:
        self.run(sent.worker.fail(sent.worker.orders[-1], FailureCause.BAD_ORDER))
        return sent

    @rule(target=ended, sent=consumes(made), allowed=st.booleans())
    def judge(self, sent: Sent, allowed: bool) -> Sent:
        verdict = Verdict.ALLOW if allowed else Verdict.BLOCK
        self.run(moderate_generation(self.studio, sent.job_id, judge(verdict)))
        self.run(publish_generation(self.studio, sent.job_id))
        self.spent += sent.quoted if allowed else 0
        return sent

    @rule(target=ended, sent=consumes(waiting))
    def cancel_waiting(self, sent: Sent) -> Sent:
        return self.cancel(sent, 0)

    @rule(target=ended, sent=consumes(running))
    def cancel_running(self, sent: Sent) -> Sent:
        job = self.run(get_generation(self.studio, sent.owner, sent.job_id))
        part = partial_charge(job.quoted, steps_done=job.stop_steps, steps=job.num_inference_steps)
        assert job.stop_cost == part
        return self.cancel(sent, part)

    @rule(sent=made)
    def cancel_made(self, sent: Sent) -> None:
        with pytest.raises(Conflict):
            self.run(cancel_generation(self.studio, sent.owner, sent.job_id))

    @rule(sent=consumes(made), verdict=st.sampled_from(Verdict))
    def throw_away(self, sent: Sent, verdict: Verdict) -> None:
        """Deleted before its verdict: paid only if it could have been shown."""
        self.run(delete_generation(self.studio, sent.owner, sent.job_id))
        self.run(moderate_generation(self.studio, sent.job_id, judge(verdict)))
        self.run(publish_generation(self.studio, sent.job_id))
        self.spent += sent.quoted if verdict is Verdict.ALLOW else 0

    def cancel(self, sent: Sent, cost: int) -> Sent:
        ended = self.run(cancel_generation(self.studio, sent.owner, sent.job_id))
        assert ended.charged == cost
        self.spent += cost
        return sent

    @rule(sent=ended)
    def end_again(self, sent: Sent) -> None:
        """Whatever comes late finds the hold ended."""

        async def work() -> None:
            before = await get_generation(self.studio, sent.owner, sent.job_id)
            await publish_generation(self.studio, sent.job_id)
            if before.state is JobState.CANCELLED:
                await cancel_generation(self.studio, sent.owner, sent.job_id)
            else:
                with pytest.raises(Conflict):
                    await cancel_generation(self.studio, sent.owner, sent.job_id)
            async with self.studio.db.transaction() as session:
                assert not await ledger.end_hold(session, sent.job_id, charge=0, reason="again")
            assert await get_generation(self.studio, sent.owner, sent.job_id) == before

        self.run(work())

    # ---- what must hold ----

    @invariant()
    def the_books_agree(self) -> None:
        ids = [person.account_id for person in self.people]
        rows = self.run(
            self.sql(
                "SELECT book, sum(amount) FROM ledger_entries WHERE account_id = ANY(:ids) GROUP BY book",
                ids=ids,
            )
        )
        books = {book: int(total) for book, total in rows}
        assert sum(books.values()) == 0
        assert books.get("available", 0) >= 0
        assert books.get("spent", 0) == self.spent
        assert books.get("owed", 0) <= 0
        overcharged = self.run(
            self.sql(
                "SELECT id FROM jobs WHERE account_id = ANY(:ids) AND coalesce(charged, 0) > quoted", ids=ids
            )
        )
        assert overcharged == []


@pytest.fixture
def machine(pg_url: str, valkey_url: str, tmp_path: Path) -> type[Machine]:
    Machine.url, Machine.valkey, Machine.folder = pg_url, valkey_url, tmp_path
    return Machine


def test_use_cases_in_any_order_leave_books_that_agree(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
