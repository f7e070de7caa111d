"""The figures of a run. Definitions are in `docs/scheduling.md`."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypedDict

from backend.domain.shares import effective_weights
from backend.simulator.run import JobFate, Outcome
from backend.simulator.trace import LIGHT_ACCOUNT_JOBS

WINDOW_S = 600.0


class TierFigures(TypedDict):
    """One tier. Waits in seconds, from submission to the first start; None where there is nothing to measure."""

    jobs: int
    refused: int
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_p99_s: float | None
    fair_wait_p99_s: float | None
    share: float
    weight_share: float
    past_ceiling: int


class LightFigures(TypedDict):
    """Accounts with at most three jobs. Slowdown: (end - arrival) / gpu_s of the jobs that were accepted."""

    jobs: int
    slowdown_p50: float | None
    slowdown_p95: float | None


class GpuFigures(TypedDict):
    """Where the GPU time went."""

    useful_s: float
    switch_s: float
    lost_s: float
    idle_s: float
    useful_of_busy: float | None


class Figures(TypedDict):
    """What `zoetrope simulate --json` prints."""

    policy: str
    tiers: dict[str, TierFigures]
    jain: float | None
    jain_10min: float | None
    light_users: LightFigures
    switch_rate: float | None
    gpu: GpuFigures
    preemptions: int
    eta_p90_coverage: float | None
    makespan_s: float


def figures_of(outcome: Outcome) -> Figures:
    """All figures of one run."""
    fates = outcome.fates
    busy_s = outcome.useful_s + outcome.switch_s + outcome.lost_s
    there_s = outcome.workers * outcome.makespan_s
    return Figures(
        policy=outcome.policy.value,
        tiers={tier: _tier_figures(outcome, tier) for tier in outcome.shares},
        jain=_jain_of_all(fates),
        jain_10min=_jain_by_window(fates),
        light_users=_light_figures(fates),
        switch_rate=_ratio(outcome.switches, outcome.starts),
        gpu=GpuFigures(
            useful_s=round(outcome.useful_s, 1),
            switch_s=round(outcome.switch_s, 1),
            lost_s=round(outcome.lost_s, 1),
            idle_s=round(max(0.0, there_s - busy_s), 1),
            useful_of_busy=_ratio(outcome.useful_s, busy_s),
        ),
        preemptions=outcome.preemptions,
        eta_p90_coverage=None if (held := outcome.calibration.coverage) is None else round(held, 4),
        makespan_s=round(outcome.makespan_s, 1),
    )


def quantile(values: Sequence[float], q: float) -> float | None:
    """The `q` quantile by nearest rank; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3)


def jain_index(values: Sequence[float]) -> float | None:
    """Jain's index: 1 when all are equal, 1/n when one has everything (Jain, Chiu, Hawe 1984)."""
    squares = len(values) * sum(value * value for value in values)
    return round(sum(values) ** 2 / squares, 4) if squares else None


def _tier_figures(outcome: Outcome, tier: str) -> TierFigures:
    own = [fate for fate in outcome.fates if fate.job.tier == tier]
    waits = [_wait_s(fate) for fate in own if fate.started_s is not None]
    fair = [_wait_s(fate) for fate in own if fate.started_s is not None and fate.inside_share]
    weights = effective_weights(outcome.shares)
    backlogged = sum(outcome.backlogged_gpu_s.values())
    if backlogged:
        share = outcome.backlogged_gpu_s[tier] / backlogged
    else:
        done = sum(fate.job.gpu_s for fate in outcome.fates if fate.ended_s is not None)
        share = sum(fate.job.gpu_s for fate in own if fate.ended_s is not None) / done if done else 0.0
    ceiling_s = outcome.shares[tier].ceiling_s
    return TierFigures(
        jobs=len(own),
        refused=sum(fate.refused for fate in own),
        wait_p50_s=quantile(waits, 0.5),
        wait_p95_s=quantile(waits, 0.95),
        wait_p99_s=quantile(waits, 0.99),
        fair_wait_p99_s=quantile(fair, 0.99),
        share=round(share, 4),
        weight_share=round(weights[tier] / sum(weights.values()), 4),
        past_ceiling=sum(_passed_ceiling(fate, ceiling_s) for fate in own),
    )


def _light_figures(fates: Sequence[JobFate]) -> LightFigures:
    jobs = Counter(fate.job.user for fate in fates)
    light = [fate for fate in fates if jobs[fate.job.user] <= LIGHT_ACCOUNT_JOBS]
    slowdowns = [
        (fate.ended_s - fate.job.arrival_s) / fate.job.gpu_s for fate in light if fate.ended_s is not None
    ]
    return LightFigures(
        jobs=len(light), slowdown_p50=quantile(slowdowns, 0.5), slowdown_p95=quantile(slowdowns, 0.95)
    )


def _jain_of_all(fates: Sequence[JobFate]) -> float | None:
    """Over accounts: GPU-seconds that were done of GPU-seconds that were asked for."""
    asked: dict[str, float] = defaultdict(float)
    done: dict[str, float] = defaultdict(float)
    for fate in fates:
        asked[fate.job.user] += fate.job.gpu_s
        if fate.ended_s is not None:
            done[fate.job.user] += fate.job.gpu_s
    return jain_index([done[user] / asked[user] for user in asked])


def _jain_by_window(fates: Sequence[JobFate]) -> float | None:
    """Mean over windows of ten minutes and tiers: GPU-seconds started by each account that waited all through it."""
    given: dict[tuple[str, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    spans: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for fate in fates:
        if fate.started_s is None:
            continue
        window = int(fate.started_s // WINDOW_S)
        given[fate.job.tier, window][fate.job.user] += fate.job.gpu_s
        spans[fate.job.tier, fate.job.user].append((fate.job.arrival_s, fate.started_s))
    waited: dict[tuple[str, int], set[str]] = defaultdict(set)
    for (tier, user), waits in spans.items():
        for first, last in _joined(waits):
            for window in range(int(-(-first // WINDOW_S)), int(last // WINDOW_S)):
                waited[tier, window].add(user)
    found = [
        index
        for key, users in waited.items()
        if len(users) > 1
        and (index := jain_index([given[key].get(user, 0.0) for user in sorted(users)])) is not None
    ]
    return round(sum(found) / len(found), 4) if found else None


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans of time that overlap, made one."""
    joined: list[tuple[float, float]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _wait_s(fate: JobFate) -> float:
    assert fate.started_s is not None
    return fate.started_s - fate.job.arrival_s


def _passed_ceiling(fate: JobFate, ceiling_s: float) -> bool:
    """It was inside its account's share when it came, and started later than its tier's ceiling."""
    if fate.started_s is None:
        return False
    return fate.inside_share and fate.started_s > fate.job.arrival_s + ceiling_s


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
