"""When a job will be done: an estimate from the work before it, put right by how earlier estimates turned out. Pure."""

import math
from dataclasses import dataclass, field

_STEP = 0.08
_LEAST_S = 1.0
_SIZES_S = (10.0, 60.0, 300.0, 1200.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Eta:
    """Seconds from now until the clip is done, median and 90th percentile."""

    p50_s: float
    p90_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What estimates are put right by: those that err alike. `first`: nothing else of its account waited; `pressure`:
    work that is asked for over work that the fleet can do, at present."""

    tier: str
    first: bool
    pressure: float
    estimate_s: float

    @property
    def alike(self) -> tuple[str, bool, bool, int]:
        """The situations that share one pair of factors."""
        size = sum(1 for limit in _SIZES_S if self.estimate_s > limit)
        return (self.tier, self.first, self.pressure > 1, size)


@dataclass(slots=True)
class _Factors:
    p50: float
    p90: float
    seen: int = 0


@dataclass
class Calibration:
    """Factors between the estimated and the true duration, a pair for situations that are alike.

    Each outcome moves the p90 factor up by 0.9 or down by 0.1 of a small step, and the p50 factor by halves
    (stochastic approximation, Robbins and Monro 1951), so that nine of ten ends come before the p90, whatever the
    load does. Where nothing is known yet, the factors are those of the shipped trace: an account that has more
    waiting while the fleet is asked for more than it can do is overtaken by all who come with nothing waiting.
    """

    _factors: dict[tuple[str, bool, bool, int], _Factors] = field(default_factory=dict)
    held: int = 0
    checked: int = 0

    def predict(self, situation: Situation) -> Eta:
        """The estimate as p50 and p90."""
        factors = self._of(situation)
        base = max(situation.estimate_s, _LEAST_S)
        return Eta(p50_s=base * factors.p50, p90_s=base * max(factors.p90, factors.p50))

    def learn(self, situation: Situation, promised: Eta, actual_s: float) -> None:
        """An end came `actual_s` after `promised` was said."""
        factors = self._of(situation)
        factors.seen += 1
        step = max(_STEP, 0.3 / factors.seen)
        factors.p50 *= math.exp(step * (0.5 if actual_s > promised.p50_s else -0.5))
        factors.p90 *= math.exp(step * (0.9 if actual_s > promised.p90_s else -0.1))
        self.checked += 1
        self.held += actual_s <= promised.p90_s

    @property
    def coverage(self) -> float | None:
        """How often the p90 held so far."""
        return self.held / self.checked if self.checked else None

    def _of(self, situation: Situation) -> _Factors:
        factors = self._factors.get(situation.alike)
        if factors is None:
            _tier, first, pressed, size = situation.alike
            p50, p90 = (1.0, 2.5) if first or not pressed else _PRESSED[size]
            factors = self._factors[situation.alike] = _Factors(p50, p90)
        return factors


_PRESSED = ((1.5, 4.0), (2.0, 12.0), (3.0, 20.0), (4.0, 14.0), (2.0, 6.0))
"""First factors (p50, p90) under pressure by size of the estimate, for accounts that have more waiting."""
