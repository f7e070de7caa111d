"""Tiers as somebody types them."""

from datetime import timedelta

import pytest

from backend.domain.errors import InvalidField
from backend.domain.tiers import EDITABLE, TIERS, changed, check_floors

FREE = TIERS["free"]


def test_every_field_can_be_typed() -> None:
    typed = dict.fromkeys(EDITABLE, "5") | {
        "floor": "0.1",
        "ceiling": "90m",
        "retention": "7d",
        "checkpoint_retention": "1.5h",
        "monthly_grant": "1,000",
        "max_pixels": "921_600",
    }
    after = changed(FREE, typed)
    assert (after.weight, after.floor, after.queue_limit, after.monthly_grant) == (5, 0.1, 5, 1000)
    assert (after.ceiling, after.retention) == (timedelta(minutes=90), timedelta(days=7))
    assert (after.checkpoint_retention, after.max_pixels) == (timedelta(minutes=90), 921_600)
    assert isinstance(after.queue_limit, int)
    assert after.name == "free"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "gold"),
        ("wieght", "1"),
        ("weight", "0"),
        ("weight", "-1"),
        ("weight", "nan"),
        ("weight", "inf"),
        ("weight", "heavy"),
        ("floor", "1"),
        ("queue_limit", "0"),
        ("queue_limit", "2.5"),
        ("queue_limit", ""),
        ("submits_per_minute", "0"),
        ("monthly_grant", "-5"),
        ("max_seconds", "0"),
        ("ceiling", "0s"),
        ("ceiling", "soon"),
        ("ceiling", "2 weeks"),
        ("retention", "5m"),
        ("retention", "99999999999999999999d"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_the_field(name: str, value: str) -> None:
    with pytest.raises(InvalidField) as refused:
        changed(FREE, {name: value})
    assert refused.value.param == name


def test_floors_leave_something_to_share() -> None:
    check_floors(TIERS.values())
    with pytest.raises(InvalidField, match="below 1"):
        check_floors([changed(tier, {"floor": "0.5"}) for tier in list(TIERS.values())[:2]])
