"""Drawing on grants, ending holds, expiry and money that went back: sums are kept, and nobody loses what is theirs."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    month_begins,
    month_of,
    repay,
    restore,
    reverse,
    reversed_credits,
    split,
)
from backend.domain.errors import InsufficientCredits
from backend.domain.pricing import CostModel, partial_charge, quote

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def grant(name: str = "g", *, left: int = 10, hours: float | None = 24, **fields: object) -> GrantState:
    """A grant with so much left, which ends in so many hours."""
    end = None if hours is None else NOW + hours * HOUR
    values: dict[str, object] = {"amount": max(left, 100), **fields}
    return GrantState(grant_id=name, remaining=left, expires_at=end, **values)  # type: ignore[arg-type]  # test fields


def balanced(change: Change) -> bool:
    return sum(entry.amount for entry in change.entries) == 0


def moved(change: Change, book: Book) -> int:
    return sum(entry.amount for entry in change.entries if entry.book is book)


grants = st.lists(st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(-5, 30))), max_size=8).map(
    lambda rows: [grant(f"g{index}", left=left, hours=hours) for index, (left, hours) in enumerate(rows)]
)


def test_spends_what_expires_first_first() -> None:
    late, never, soon = grant("late", hours=9), grant("never", hours=None), grant("soon", left=4, hours=1)
    assert draw([late, never, soon], 15, now=NOW) == [
        Draw(grant_id="soon", amount=4),
        Draw(grant_id="late", amount=10),
        Draw(grant_id="never", amount=1),
    ]


def test_an_expired_grant_is_not_drawn_on() -> None:
    with pytest.raises(InsufficientCredits, match="costs 1 credits and the account has 0"):
        draw([grant(hours=0)], 1, now=NOW)


@given(grants, st.integers(1, 200))
def test_a_draw_takes_exactly_the_amount_or_nothing(balances: list[GrantState], amount: int) -> None:
    usable = sum(g.remaining for g in balances if g.expires_at is None or g.expires_at > NOW)
    if usable < amount:
        with pytest.raises(InsufficientCredits):
            draw(balances, amount, now=NOW)
        return
    draws = draw(balances, amount, now=NOW)
    assert sum(d.amount for d in draws) == amount
    remaining = {g.grant_id: g.remaining for g in balances}
    assert all(0 < d.amount <= remaining[d.grant_id] for d in draws)
    held = hold({g.grant_id: g for g in balances}, draws)
    assert balanced(held)
    assert moved(held, Book.HELD) == amount


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_what_is_spent_and_what_goes_back_make_up_the_hold(amounts: list[int], data: st.DataObject) -> None:
    draws = [Draw(grant_id=f"g{i}", amount=amount) for i, amount in enumerate(amounts)]
    charged = data.draw(st.integers(0, sum(amounts)))
    spent, back = split(draws, charged)
    assert sum(d.amount for d in spent) == charged
    for d in draws:
        parts = [p.amount for p in (*spent, *back) if p.grant_id == d.grant_id]
        assert sum(parts) == d.amount
    ended = end_hold({d.grant_id: grant(d.grant_id, left=0) for d in draws}, draws, charged, now=NOW)
    assert balanced(ended)
    assert (moved(ended, Book.SPENT), moved(ended, Book.HELD)) == (charged, -sum(amounts))


def test_a_charge_in_part_is_taken_from_what_expires_first() -> None:
    draws = [Draw(grant_id="soon", amount=4), Draw(grant_id="late", amount=6)]
    ended = end_hold({d.grant_id: grant(d.grant_id, left=0) for d in draws}, draws, 5, now=NOW)
    assert {g.grant_id: g.remaining for g in ended.grants} == {"late": 5}


def test_a_charge_above_the_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.3"):
        split([Draw(grant_id="g", amount=3)], 4)


def test_what_comes_back_to_a_grant_that_expired_meanwhile_stays_usable_for_a_day() -> None:
    ended = end_hold({"g": grant(left=0, hours=-1)}, [Draw(grant_id="g", amount=3)], 0, now=NOW)
    (back,) = ended.grants
    assert (back.remaining, back.expires_at, back.extended) == (3, NOW + RETURN_GRACE, True)
    assert timedelta(days=1) == RETURN_GRACE
    assert back.usable(NOW + 23 * HOUR)
    assert not back.usable(NOW + 24 * HOUR)


def test_only_what_comes_back_is_usable_again_and_not_what_had_expired() -> None:
    ended = end_hold({"g": grant(left=190, hours=-1)}, [Draw(grant_id="g", amount=3)], 0, now=NOW)
    (back,) = ended.grants
    assert (back.remaining, back.expired) == (3, 190)
    assert moved(ended, Book.EXPIRED) == 190
    assert balanced(ended)


def test_what_comes_back_later_has_a_whole_day_too() -> None:
    once = end_hold({"g": grant(left=0, hours=-1)}, [Draw(grant_id="g", amount=3)], 0, now=NOW).grants[0]
    later = NOW + 20 * HOUR
    (twice,) = end_hold({"g": once}, [Draw(grant_id="g", amount=2)], 0, now=later).grants
    assert (twice.remaining, twice.expires_at) == (5, later + RETURN_GRACE)


def test_a_grant_that_still_runs_keeps_its_end_when_something_comes_back() -> None:
    (back,) = end_hold({"g": grant(left=1, hours=2)}, [Draw(grant_id="g", amount=3)], 0, now=NOW).grants
    assert (back.remaining, back.expires_at, back.extended) == (4, NOW + 2 * HOUR, False)


def test_expiry_takes_what_is_left_and_only_at_the_end() -> None:
    assert expire(grant(hours=1), now=NOW) == Change()
    assert expire(grant(hours=None), now=NOW) == Change()
    change = expire(grant(left=9, hours=0), now=NOW)
    assert (change.grants[0].remaining, change.grants[0].expired) == (0, 9)
    assert balanced(change)


def test_a_grant_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="0 credits"):
        issue("g", 0, expires_at=None)
    assert balanced(issue("g", 9, expires_at=None))


def test_a_refund_takes_back_what_is_unspent_and_the_rest_is_owed() -> None:
    # Of 100 bought: 60 there, 10 expired unused, 30 spent or held.
    change = reverse(grant(left=60, amount=100, expired=10), 100)
    (after,) = change.grants
    assert (after.remaining, after.expired, after.reversed, after.owed) == (0, 0, 100, 30)
    assert moved(change, Book.OWED) == -30
    assert moved(change, Book.ISSUED) == 100
    assert balanced(change)


def test_a_refund_that_comes_again_takes_no_more_than_was_bought() -> None:
    (once,) = reverse(grant(left=60, amount=100), 80).grants
    (twice,) = reverse(once, 80).grants
    assert (twice.reversed, twice.remaining) == (100, 0)
    assert reverse(twice, 80) == Change()


def test_what_a_hold_gives_back_pays_what_its_grant_owes_first() -> None:
    (owing,) = reverse(grant(left=0, amount=100), 100).grants
    ended = end_hold({"g": owing}, [Draw(grant_id="g", amount=40)], 0, now=NOW)
    assert (ended.grants[0].owed, ended.grants[0].remaining) == (60, 0)
    assert balanced(ended)


def test_a_purchase_pays_older_debts_before_it_can_be_spent() -> None:
    change = repay(grant("new", left=100), [grant("a", left=0, owed=30), grant("b", left=0, owed=90)])
    assert {g.grant_id: (g.remaining, g.owed) for g in change.grants} == {
        "a": (0, 0),
        "b": (0, 20),
        "new": (0, 0),
    }
    assert balanced(change)
    assert repay(grant("new"), []) == Change()


def test_a_dispute_that_was_won_forgives_the_debt_and_gives_the_rest_back() -> None:
    (owing,) = reverse(grant(left=60, amount=100), 100).grants
    change = restore(owing, 100, now=NOW)
    (after,) = change.grants
    assert (after.remaining, after.owed, after.reversed) == (60, 0, 0)
    assert balanced(change)


def test_what_a_won_dispute_gives_back_after_the_end_is_usable_for_a_day() -> None:
    (taken,) = reverse(grant(left=60, amount=100, hours=-2), 100).grants
    (after,) = restore(taken, 100, now=NOW).grants
    assert (after.remaining, after.expires_at) == (60, NOW + RETURN_GRACE)


@pytest.mark.parametrize(
    ("paid", "returned", "credits"),
    [(900, 0, 0), (900, 300, 333), (900, 900, 1000), (900, 5000, 1000), (0, 5, 0)],
)
def test_credits_go_back_in_the_share_of_the_money_rounded_for_the_payer(
    paid: int, returned: int, credits: int
) -> None:
    assert reversed_credits(1000, paid=paid, returned=returned) == credits


def test_months_are_those_of_utc() -> None:
    in_tokyo = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=9)))
    assert month_of(in_tokyo) == "2025-12"
    assert month_begins(in_tokyo, months=1) == datetime(2026, 1, 1, tzinfo=UTC)
    assert month_begins(datetime(2026, 11, 30, 23, tzinfo=UTC), months=3) == datetime(2027, 2, 1, tzinfo=UTC)


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
