"""The ledger as a state machine: whatever is given, held, ended, expired, refunded and repaid, in whatever order."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from backend.domain.credits import (
    RETURN_GRACE,
    Book,
    Change,
    Draw,
    GrantState,
    draw,
    end_hold,
    expire,
    hold,
    issue,
    repay,
    restore,
    reverse,
)
from backend.domain.errors import InsufficientCredits
from backend.domain.pricing import partial_charge

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class OpenHold:
    quoted: int
    draws: tuple[Draw, ...]


class LedgerMachine(RuleBasedStateMachine):
    """One account. `books` adds up every entry that was ever written."""

    holds = Bundle("holds")
    grants = Bundle("grants")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.state: dict[str, GrantState] = {}
        self.books: Counter[Book] = Counter()
        self.open: list[OpenHold] = []
        self.charged = 0

    def save(self, change: Change) -> None:
        assert sum(entry.amount for entry in change.entries) == 0
        for entry in change.entries:
            self.books[entry.book] += entry.amount
        self.state |= {grant.grant_id: grant for grant in change.grants}

    def usable(self) -> int:
        return sum(grant.remaining for grant in self.state.values() if grant.usable(self.now))

    @rule(target=grants, amount=st.integers(1, 60), hours=st.one_of(st.none(), st.integers(1, 60)))
    def give(self, amount: int, hours: int | None) -> str:
        name = f"g{len(self.state):03}"
        self.save(issue(name, amount, expires_at=None if hours is None else self.now + hours * HOUR))
        return name

    @rule(target=grants, amount=st.integers(1, 60))
    def buy(self, amount: int) -> str:
        name = self.give(amount, None)
        debts = [grant for grant in self.state.values() if grant.owed]
        owed = sum(debt.owed for debt in debts)
        self.save(repay(self.state[name], debts))
        assert sum(grant.owed for grant in self.state.values()) == max(0, owed - amount)
        return name

    @rule(target=holds, price=st.integers(1, 50))
    def submit(self, price: int) -> object:
        before = self.usable()
        try:
            draws = draw(list(self.state.values()), price, now=self.now)
        except InsufficientCredits:
            assert before < price
            return multiple()
        assert before >= price
        self.save(hold(self.state, draws))
        held = OpenHold(quoted=price, draws=tuple(draws))
        self.open.append(held)
        return held

    @rule(held=consumes(holds), done=st.integers(-1, 12), steps=st.integers(1, 10))
    def end(self, held: OpenHold, done: int, steps: int) -> None:
        charge = partial_charge(held.quoted, steps_done=done, steps=steps)
        assert 0 <= charge <= held.quoted
        before, owed = self.usable(), sum(grant.owed for grant in self.state.values())
        ended = {grant.grant_id for grant in self.state.values() if grant.ended(self.now)}
        change = end_hold(self.state, held.draws, charge, now=self.now)
        self.save(change)
        self.open.remove(held)
        self.charged += charge
        back = held.quoted - charge
        repaid = owed - sum(grant.owed for grant in self.state.values())
        assert self.usable() == before + back - repaid, "what comes back is usable, and nothing else revives"
        for grant in change.grants:
            if grant.grant_id in ended and grant.remaining:
                assert grant.expires_at is not None
                assert grant.expires_at >= self.now + RETURN_GRACE

    @rule(hours=st.integers(1, 40))
    def wait(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule()
    def write_off(self) -> None:
        before = self.usable()
        for grant in list(self.state.values()):
            self.save(expire(grant, now=self.now))
        assert self.usable() == before
        assert self.books[Book.AVAILABLE] == before

    @rule(name=grants, amount=st.integers(1, 60))
    def take_back(self, name: str, amount: int) -> None:
        self.save(reverse(self.state[name], amount))

    @rule(name=grants, amount=st.integers(1, 60))
    def give_again(self, name: str, amount: int) -> None:
        self.save(restore(self.state[name], amount, now=self.now))

    @invariant()
    def books_agree(self) -> None:
        grants = self.state.values()
        assert sum(self.books.values()) == 0
        assert self.books[Book.AVAILABLE] == sum(grant.remaining for grant in grants)
        assert self.books[Book.HELD] == sum(held.quoted for held in self.open)
        assert self.books[Book.SPENT] == self.charged
        assert self.books[Book.EXPIRED] == sum(grant.expired for grant in grants)
        assert self.books[Book.OWED] == -sum(grant.owed for grant in grants)
        assert self.books[Book.ISSUED] == -sum(grant.amount - grant.reversed for grant in grants)

    @invariant()
    def nothing_is_below_zero(self) -> None:
        for grant in self.state.values():
            assert grant.remaining >= 0
            assert 0 <= grant.owed <= grant.reversed <= grant.amount
            assert grant.expired >= 0


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
