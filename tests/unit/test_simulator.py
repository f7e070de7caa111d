"""The scheduler over the shipped trace on a virtual clock: the figures that docs/scheduling.md states."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from statistics import mean

import pytest

from backend.domain.shares import TierShare, effective_weights
from backend.domain.tiers import TIERS
from backend.simulator.backlogged import backlogged
from backend.simulator.forced import forced_gpu_s
from backend.simulator.generate import TraceOptions, generate
from backend.simulator.policies import PolicyName
from backend.simulator.report import Figures, figures_of
from backend.simulator.run import Fleet, Outcome, Simulation
from backend.simulator.trace import TraceJob

SHARES = {name: TierShare.of(tier) for name, tier in TIERS.items() if name != "internal"}
SWITCH_S = 22.7


@cache
def shipped_trace() -> list[TraceJob]:
    return generate(TraceOptions(seed=1))


def simulated(
    jobs: Sequence[TraceJob],
    policy: PolicyName = PolicyName.FAIR,
    *,
    mtbf_s: float = float("inf"),
    halve_at_s: float = float("inf"),
) -> Outcome:
    fleet = Fleet(memory_gb=[80.0] * 8, switch_s=SWITCH_S, mtbf_s=mtbf_s, halve_at_s=halve_at_s)
    return Simulation(jobs, fleet, policy=policy, shares=SHARES, refuse=True, seed=1).run()


@cache
def ran(policy: PolicyName) -> Outcome:
    return simulated(shipped_trace(), policy)


@cache
def shipped(policy: PolicyName) -> Figures:
    return figures_of(ran(policy))


def test_switches_are_rare_and_busy_time_is_useful() -> None:
    fair, fifo = shipped(PolicyName.FAIR), shipped(PolicyName.FIFO)
    assert fair["switch_rate"] is not None
    assert fifo["switch_rate"] is not None
    assert fair["gpu"]["useful_of_busy"] is not None
    assert fair["switch_rate"] <= 0.12
    assert 0.70 <= fifo["switch_rate"] <= 0.82
    assert fair["gpu"]["useful_of_busy"] >= 0.90


def test_light_accounts_wait_a_fiftieth_of_what_they_wait_first_come_first_served() -> None:
    slow = {p: shipped(p)["light_users"]["slowdown_p95"] for p in PolicyName}
    assert slow[PolicyName.FAIR] is not None
    assert slow[PolicyName.FIFO] is not None
    assert slow[PolicyName.PRIORITY] is not None
    assert slow[PolicyName.FAIR] <= slow[PolicyName.FIFO] / 50
    assert slow[PolicyName.FAIR] <= slow[PolicyName.PRIORITY] / 50


def test_no_more_is_refused_than_capacity_forces_where_every_job_keeps_its_ceiling() -> None:
    outcome = ran(PolicyName.FAIR)
    refused_s = sum(fate.job.gpu_s for fate in outcome.fates if fate.refused)
    capacity = 8 * outcome.useful_s / (outcome.useful_s + outcome.switch_s)
    assert 0 < refused_s <= 1.05 * forced_gpu_s(shipped_trace(), SHARES, capacity)


@pytest.mark.parametrize(
    ("jobs", "forced_s"),
    [
        pytest.param([(0, 60), (0, 60)], 0, id="both within their time"),
        pytest.param([(0, 800), (0, 800)], 0, id="the second starts within its ceiling and may end later"),
        pytest.param([(0, 1000)] * 4, 2100, id="one machine, four at once"),
        pytest.param([(0, 1000), (5000, 1000)], 0, id="each after the other"),
    ],
)
def test_what_capacity_forces_is_what_no_machine_is_left_for(
    jobs: list[tuple[float, float]], forced_s: float
) -> None:
    rows = [
        TraceJob(arrival_s=at, user=f"u{n}", tier="free", model="m", gpu_s=work, vram_gb=1.0)
        for n, (at, work) in enumerate(jobs)
    ]
    assert forced_gpu_s(rows, SHARES, 1.0) == pytest.approx(forced_s)


def test_nobody_inside_their_share_passes_their_tiers_ceiling() -> None:
    assert {name: tier["past_ceiling"] for name, tier in shipped(PolicyName.FAIR)["tiers"].items()} == {
        "free": 0,
        "plus": 0,
        "pro": 0,
    }


def test_the_p90_of_the_eta_holds_nine_times_of_ten() -> None:
    coverage = shipped(PolicyName.FAIR)["eta_p90_coverage"]
    assert coverage is not None
    assert 0.85 <= coverage <= 0.95


def test_with_every_tier_backlogged_shares_are_within_two_points_of_weights() -> None:
    tiers = figures_of(simulated(backlogged()))["tiers"]
    for tier in tiers.values():
        assert tier["share"] == pytest.approx(tier["weight_share"], abs=0.02)


def test_crashes_lose_no_accepted_job_and_end_none_twice() -> None:
    jobs = shipped_trace()[:2500]
    outcome = simulated(jobs, mtbf_s=1800)
    assert outcome.lost_s > 0
    assert all(fate.refused or fate.ended_s is not None for fate in outcome.fates)
    done_s = sum(fate.job.gpu_s for fate in outcome.fates if fate.ended_s is not None)
    assert outcome.useful_s == pytest.approx(done_s, rel=0.001)


def test_when_half_of_the_workers_vanish_every_accepted_job_still_ends() -> None:
    jobs = shipped_trace()[2500:5000]
    middle_s = jobs[len(jobs) // 2].arrival_s
    outcome = simulated(jobs, halve_at_s=middle_s)
    assert all(fate.refused or fate.ended_s is not None for fate in outcome.fates)


HALVE_AT_S = 3600.0


@cache
def halved() -> Outcome:
    return simulated(backlogged(), halve_at_s=HALVE_AT_S)


def test_when_half_of_the_workers_vanish_shares_hold_to_three_points_of_weights() -> None:
    started: Counter[str] = Counter()
    for fate in halved().fates:
        if fate.started_s is not None and HALVE_AT_S < fate.started_s < HALVE_AT_S + 2 * 3600:
            started[fate.job.tier] += round(fate.job.gpu_s * 1000)
    weights = effective_weights(SHARES)
    for tier, weight in weights.items():
        share = started[tier] / started.total()
        assert share == pytest.approx(weight / sum(weights.values()), abs=0.03), tier


def test_an_eta_said_ten_seconds_after_half_of_the_workers_vanished_counts_on_the_other_half() -> None:
    def mean_promise_s(outcome: Outcome, begin_s: float) -> float:
        """Said to those who came in these five minutes."""
        return mean(
            fate.promised.p50_s
            for fate in outcome.fates
            if fate.promised is not None and begin_s < fate.job.arrival_s < begin_s + 300
        )

    undisturbed = simulated(backlogged())
    before_s = HALVE_AT_S - 310
    assert mean_promise_s(halved(), before_s) == mean_promise_s(undisturbed, before_s)
    after_s = HALVE_AT_S + 10
    assert mean_promise_s(halved(), after_s) > 1.5 * mean_promise_s(undisturbed, after_s)


def test_the_same_trace_and_seed_give_the_same_figures() -> None:
    jobs = shipped_trace()[:1500]
    assert figures_of(simulated(jobs, mtbf_s=3600)) == figures_of(simulated(jobs, mtbf_s=3600))


def test_an_empty_trace_is_no_error() -> None:
    figures = figures_of(simulated([]))
    assert figures["switch_rate"] is None
    assert figures["makespan_s"] == 0
