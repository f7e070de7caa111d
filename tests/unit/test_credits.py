"""Drawing on grants and ending holds: sums are kept whatever is drawn, spent or returned."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.credits import (
    Draw,
    GrantBalance,
    draw,
    entries_for_end,
    entries_for_expiry,
    entries_for_grant,
    split,
)
from backend.domain.errors import InsufficientCredits
from backend.domain.pricing import CostModel, partial_charge, quote

NOW = datetime(2026, 5, 1, tzinfo=UTC)

grants = st.lists(st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(-5, 30))), max_size=8).map(
    lambda rows: [
        GrantBalance(
            grant_id=f"g{index}",
            remaining=remaining,
            expires_at=None if days is None else NOW + timedelta(days=days),
        )
        for index, (remaining, days) in enumerate(rows)
    ]
)


def test_spends_what_expires_first_first() -> None:
    late = GrantBalance(grant_id="late", remaining=10, expires_at=NOW + timedelta(days=9))
    never = GrantBalance(grant_id="never", remaining=10, expires_at=None)
    soon = GrantBalance(grant_id="soon", remaining=4, expires_at=NOW + timedelta(days=1))
    assert draw([late, never, soon], 15, now=NOW) == [
        Draw(grant_id="soon", amount=4),
        Draw(grant_id="late", amount=10),
        Draw(grant_id="never", amount=1),
    ]


def test_an_expired_grant_is_not_drawn_on() -> None:
    expired = GrantBalance(grant_id="old", remaining=10, expires_at=NOW)
    with pytest.raises(InsufficientCredits, match="costs 1 credits and the account has 0"):
        draw([expired], 1, now=NOW)


@given(grants, st.integers(1, 200))
def test_a_draw_takes_exactly_the_amount_or_nothing(balances: list[GrantBalance], amount: int) -> None:
    usable = sum(g.remaining for g in balances if g.expires_at is None or g.expires_at > NOW)
    if usable < amount:
        with pytest.raises(InsufficientCredits):
            draw(balances, amount, now=NOW)
        return
    draws = draw(balances, amount, now=NOW)
    assert sum(d.amount for d in draws) == amount
    remaining = {g.grant_id: g.remaining for g in balances}
    assert all(0 < d.amount <= remaining[d.grant_id] for d in draws)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_what_is_spent_and_what_goes_back_make_up_the_hold(amounts: list[int], data: st.DataObject) -> None:
    draws = [Draw(grant_id=f"g{i}", amount=amount) for i, amount in enumerate(amounts)]
    charged = data.draw(st.integers(0, sum(amounts)))
    spent, back = split(draws, charged)
    assert sum(d.amount for d in spent) == charged
    for d in draws:
        parts = [p.amount for p in (*spent, *back) if p.grant_id == d.grant_id]
        assert sum(parts) == d.amount
    assert sum(e.amount for e in entries_for_end(spent, back)) == 0


def test_a_charge_above_the_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.3"):
        split([Draw(grant_id="g", amount=3)], 4)


def test_grants_and_expiries_balance() -> None:
    assert sum(e.amount for e in entries_for_grant("g", 9)) == 0
    assert sum(e.amount for e in entries_for_expiry("g", 9)) == 0


@given(st.integers(1, 1000), st.integers(-3, 120), st.integers(1, 100))
def test_a_partial_charge_stays_within_the_quote_and_grows_with_steps(
    quoted: int, done: int, steps: int
) -> None:
    charge = partial_charge(quoted, steps_done=done, steps=steps)
    assert 0 <= charge <= quoted
    assert charge <= partial_charge(quoted, steps_done=done + 1, steps=steps)
    assert partial_charge(quoted, steps_done=steps, steps=steps) == quoted
    assert partial_charge(quoted, steps_done=0, steps=steps) == 0


def test_a_price_grows_with_work_and_is_never_nothing() -> None:
    cost = CostModel(base_gpu_s=0.1, gpu_s_per_mpxf_step=0.02, credits_per_gpu_s=1.0)
    small = quote(cost, width=64, height=64, num_frames=1, steps=1)
    large = quote(cost, width=1280, height=704, num_frames=121, steps=40)
    assert small == 1
    assert large == 88
