"""Who gets a month's credits, and why not."""

from dataclasses import replace

import pytest

from backend.auth.networks import network_key
from backend.domain.monthly import Claim, Origin, Withheld, decide
from backend.domain.tiers import TIERS

FREE = TIERS["free"]
CLAIM = Claim(tier=FREE, origin=Origin.SELF, vouched=True, network="n", given=0)


def test_a_confirmed_account_gets_the_credits_of_its_tier() -> None:
    assert (decide(CLAIM, taken=0), CLAIM.due) == (None, FREE.monthly_grant)


def test_an_unconfirmed_address_gets_none_whoever_made_the_account() -> None:
    for origin in Origin:
        claim = replace(CLAIM, vouched=False, origin=origin)
        assert decide(claim, taken=0) is Withheld.UNCONFIRMED


def test_a_network_gets_so_many_shares_and_no_more() -> None:
    assert decide(CLAIM, taken=FREE.grants_per_network - 1) is None
    assert decide(CLAIM, taken=FREE.grants_per_network) is Withheld.NETWORK_FULL


def test_who_was_not_seen_for_long_waits_for_the_next_sign_in() -> None:
    assert decide(replace(CLAIM, network=None), taken=0) is Withheld.NETWORK_UNKNOWN


@pytest.mark.parametrize("origin", [Origin.INVITATION, Origin.OPERATOR])
def test_a_network_does_not_count_for_people_who_were_asked_in(origin: Origin) -> None:
    assert decide(replace(CLAIM, origin=origin, network=None), taken=99) is None


def test_a_network_does_not_count_in_a_tier_without_that_limit() -> None:
    assert decide(replace(CLAIM, tier=TIERS["plus"], network=None), taken=99) is None


def test_a_better_tier_in_mid_month_adds_the_difference_and_a_lesser_one_takes_nothing() -> None:
    assert replace(CLAIM, tier=TIERS["plus"], given=200).due == 1_800
    assert replace(CLAIM, tier=FREE, given=2_000).due == 0
    assert decide(replace(CLAIM, given=200, vouched=False), taken=0) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.250", True),
        ("203.0.113.7", "203.0.112.7", False),
        ("2001:db8:1:2::", "2001:db8:1:ffff::1", True),
        ("2001:db8:1:2::", "2001:db8:2:2::", False),
        ("::ffff:203.0.113.9", "203.0.113.7", True),
        ("unknown", "", True),
    ],
)
def test_neighbours_are_one_network(one: str, other: str, same: bool) -> None:
    assert (network_key(one, b"secret") == network_key(other, b"secret")) is same


def test_the_hash_tells_nothing_without_the_key() -> None:
    assert network_key("203.0.113.7", b"secret") != network_key("203.0.113.7", b"another")
