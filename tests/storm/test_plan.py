"""A storm's plan follows from its seed, hurts everything, and leaves room to see what is to be seen."""

from itertools import pairwise

import pytest

from backend.db.repositories.leadership import TERM_LEASE
from backend.domain.attempt import LEASE
from tests.storm.plan import ALONE, DEAFENING, HEARING, LEASE_S, TERM_S, Kind, plan_faults

FIVE_MINUTES_S = 300.0


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_faults(seed: int) -> None:
    assert plan_faults(seed, FIVE_MINUTES_S) == plan_faults(seed, FIVE_MINUTES_S)


def test_another_seed_gives_another_storm() -> None:
    assert plan_faults(1, FIVE_MINUTES_S) != plan_faults(2, FIVE_MINUTES_S)


@pytest.mark.parametrize("seed", range(20))
def test_five_minutes_hold_every_kind_of_fault(seed: int) -> None:
    assert {fault.kind for fault in plan_faults(seed, FIVE_MINUTES_S)} == set(Kind)


@pytest.mark.parametrize("seed", range(20))
def test_a_fault_begins_every_few_seconds_and_the_last_one_ends_in_time(seed: int) -> None:
    plan = plan_faults(seed, FIVE_MINUTES_S)
    assert [fault.at_s for fault in plan] == sorted(fault.at_s for fault in plan)
    assert all(fault.end_s <= FIVE_MINUTES_S for fault in plan)
    assert len(plan) >= 30


@pytest.mark.parametrize("seed", range(20))
def test_nothing_else_happens_within_a_lease_of_an_outage(seed: int) -> None:
    for one, following in pairwise(plan_faults(seed, FIVE_MINUTES_S)):
        if one.kind in ALONE:
            assert following.at_s >= one.end_s + LEASE_S


@pytest.mark.parametrize("seed", range(20))
def test_an_outage_and_a_stop_last_longer_than_the_lease_they_are_to_outlast(seed: int) -> None:
    for fault in plan_faults(seed, FIVE_MINUTES_S):
        if fault.kind in ALONE | {Kind.STOP_WORKER, Kind.WORKER_AWAY}:
            assert fault.for_s > LEASE_S
        if fault.kind is Kind.STOP_LEADER:
            assert fault.for_s > TERM_S


@pytest.mark.parametrize("seed", range(20))
def test_a_worker_stays_away_long_enough_to_be_missed_while_a_leader_hears(seed: int) -> None:
    plan = plan_faults(seed, FIVE_MINUTES_S)
    for away in (fault for fault in plan if fault.kind is Kind.WORKER_AWAY):
        meanwhile = [fault for fault in plan if away.at_s - LEASE_S < fault.at_s < away.at_s + 2 * LEASE_S]
        assert all(fault.kind in HEARING for fault in meanwhile)


@pytest.mark.parametrize("seed", range(20))
def test_no_process_is_hurt_again_before_it_is_back(seed: int) -> None:
    plan = plan_faults(seed, FIVE_MINUTES_S)
    for fault in plan:
        others = [other for other in plan if other.target == fault.target and other.number > fault.number]
        assert not fault.target or all(other.at_s >= fault.end_s for other in others)


def test_only_the_kinds_that_were_asked_for() -> None:
    kinds = (Kind.KILL_WORKER, Kind.FLUSHALL)
    assert {fault.kind for fault in plan_faults(1, 60, kinds)} == set(kinds)


def test_each_kind_is_of_one_half_and_the_times_are_the_products() -> None:
    assert set(DEAFENING) | set(HEARING) == set(Kind)
    assert not set(DEAFENING) & set(HEARING)
    assert LEASE.total_seconds() == LEASE_S
    assert TERM_LEASE.total_seconds() == TERM_S
