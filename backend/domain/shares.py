"""Tiers' claims on GPU time, and how much work of a tier may wait so that its ceiling can be kept. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from backend.domain.tiers import Tier


@dataclass(frozen=True, kw_only=True)
class TierShare:
    """A tier's claim: `weight` against the others, at least `floor` of all while it has work.

    `ceiling_s`: seconds of waiting after which its jobs go first.
    """

    weight: float
    floor: float = 0.0
    ceiling_s: float = math.inf

    @classmethod
    def of(cls, tier: Tier) -> "TierShare":
        """A tier's own."""
        return cls(weight=tier.weight, floor=tier.floor, ceiling_s=tier.ceiling.total_seconds())


def effective_weights(shares: Mapping[str, TierShare]) -> dict[str, float]:
    """Weights raised so that each tier's part of their sum is at least its floor. Floors must sum below 1."""
    floors = sum(share.floor for share in shares.values())
    if floors >= 1:
        raise ValueError(f"the floors of all tiers sum to {floors}; they must stay below 1")
    total = sum(share.weight for share in shares.values())
    weights = {name: share.weight for name, share in shares.items()}
    raised = {n for n, s in shares.items() if total and s.floor > s.weight / total}
    free = sum(shares[n].weight for n in shares if n not in raised)
    left = 1 - sum(shares[n].floor for n in raised)
    for name in raised:
        weights[name] = shares[name].floor / left * free if free else shares[name].floor
    return weights


def share_with(tier: str, weights: Mapping[str, float], demands: Mapping[str, float]) -> float:
    """The part of capacity that `tier` gets when it wants all, and each other tier wants its `demands` part.

    Weighted max-min: who wants less than its part by weight leaves the rest to the others.
    """
    others = {name: demands.get(name, 0.0) for name in weights if name != tier}
    left, content = 1.0, True
    while content:
        total = sum(weights[name] for name in others) + weights[tier]
        content = False
        for name in sorted(others):
            if others[name] < left * weights[name] / total:
                left -= others.pop(name)
                content = True
                break
    return left * weights[tier] / (sum(weights[name] for name in others) + weights[tier])


DEMAND_WINDOW_S = 300.0
FILL = 0.25
LEAST_WAITING = 8
"""So many accounts of a tier may always wait, whatever its ceiling: a studio with one GPU turns nobody away early."""


class Backlog:
    """How much work of each tier may wait that its ceiling binds: a quarter of the ceiling, times the capacity that the
    tier can count on. The rest of the ceiling is for workers that vanish and tiers that wake up.

    Capacity is in GPU-seconds a second (workers times what they do beside switching models). A tier can count on its
    weighted max-min share against what the others have been asking for in the last minutes; so a quiet studio lets
    its one busy tier fill the whole ceiling, and a full one holds every tier to its weight.
    """

    def __init__(self, shares: Mapping[str, TierShare], *, window_s: float = DEMAND_WINDOW_S) -> None:
        self._shares = dict(shares)
        self._weights = effective_weights(shares)
        self._window_s = window_s
        self._asked: dict[str, tuple[float, float]] = {}

    def asked(self, tier: str, gpu_s: float, now_s: float) -> None:
        """Someone asked for this much work, whether it was accepted or not."""
        self._asked[tier] = (self._rate(tier, now_s) + gpu_s / self._window_s, now_s)

    def bound_gpu_s(self, tier: str, *, waiting: Mapping[str, float], capacity: float, now_s: float) -> float:
        """GPU-seconds of this tier that may wait; infinite where it has no ceiling.

        `waiting`: all the work that waits, by tier.
        """
        ceiling_s = self._shares[tier].ceiling_s
        if math.isinf(ceiling_s) or capacity <= 0:
            return math.inf
        return FILL * ceiling_s * capacity * self.share(tier, waiting=waiting, capacity=capacity, now_s=now_s)

    def share(self, tier: str, *, waiting: Mapping[str, float], capacity: float, now_s: float) -> float:
        """The part of capacity that this tier can count on now."""
        horizon_s = self._shares[tier].ceiling_s
        demands = {
            name: (self._rate(name, now_s) + waiting.get(name, 0.0) / horizon_s) / capacity
            for name in self._shares
        }
        return share_with(tier, self._weights, demands)

    def pressure(self, capacity: float, now_s: float) -> float:
        """Work asked for in the last minutes over work that could be done in them."""
        return sum(self._rate(name, now_s) for name in self._shares) / max(capacity, 1e-9)

    def _rate(self, tier: str, now_s: float) -> float:
        rate, at_s = self._asked.get(tier, (0.0, now_s))
        return rate * math.exp(-max(0.0, now_s - at_s) / self._window_s)
