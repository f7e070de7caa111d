"""How often a run is made durable: often enough to lose little, seldom enough to cost next to nothing."""

SHARE = 0.005
"""The most of a run's time that checkpoints may take: half of the hundredth that a preemption may cost too."""


def interval_s(*, wanted_s: float, step_s: float, cost_s: float) -> float:
    """Seconds from one checkpoint to the next.

    `wanted_s` is the recipe's; a step bounds it from below, since only boundaries can be kept; `cost_s` is what the
    last one took from the GPU. A run of T seconds takes at most T / interval of them: `SHARE` of its time.
    """
    return max(wanted_s, step_s, cost_s / SHARE)
