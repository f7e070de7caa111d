"""When a job will be done: an estimate from the work before it, put right by how earlier estimates turned out. Pure."""

from collections import deque
from dataclasses import dataclass, field

from backend.domain.pace import LATE
from backend.domain.quantiles import usual_and_late

_LEAST_S = 1.0
_SIZES_S = (10.0, 60.0, 300.0, 1200.0)
_NEWEST = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Eta:
    """Seconds from now until the clip is done, median and 90th percentile."""

    p50_s: float
    p90_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What estimates are put right by: those that err alike. `first`: nothing else of its account waited; `pressure`:
    work that is asked for over work that the fleet can do, at present, 0 where nobody else is before it; `late`: the
    p90 over the median of the time that such clips take, as measured."""

    tier: str
    first: bool
    pressure: float
    estimate_s: float
    late: float = LATE

    @property
    def alike(self) -> tuple[str, bool, bool, int]:
        """The situations that share one record. Tiers differ only where they wait for each other."""
        size = sum(1 for limit in _SIZES_S if self.estimate_s > limit)
        pressed = self.pressure > 1
        return (self.tier if pressed else "", self.first, pressed, size)

    @property
    def expected(self) -> tuple[float, float]:
        """True over estimated time, usual and late, where nothing is known yet. Under pressure that of the shipped
        trace: an account that has more waiting is overtaken by all who come with nothing waiting."""
        _tier, first, pressed, size = self.alike
        return _PRESSED[size] if pressed and not first else (1.0, self.late)


@dataclass
class Calibration:
    """The newest true over estimated durations of each kind of situation; p50 and p90 are their quantiles.

    Wide at first, as wide as such clips were measured to spread; after fifteen ends of a kind those decide alone. A
    crash, a preemption or a crowd that came between is in the true duration, so it counts.
    """

    _outcomes: dict[tuple[str, bool, bool, int], deque[float]] = field(default_factory=dict)
    held: int = 0
    checked: int = 0

    def predict(self, situation: Situation) -> Eta:
        """The estimate as p50 and p90."""
        usual, late = usual_and_late(self._outcomes.get(situation.alike, ()), *situation.expected)
        base_s = _base_s(situation)
        return Eta(p50_s=base_s * usual, p90_s=base_s * late)

    def learn(self, situation: Situation, promised: Eta, actual_s: float) -> None:
        """An end came `actual_s` after `promised` was said."""
        outcomes = self._outcomes.setdefault(situation.alike, deque(maxlen=_NEWEST))
        outcomes.append(actual_s / _base_s(situation))
        self.checked += 1
        self.held += actual_s <= promised.p90_s

    @property
    def coverage(self) -> float | None:
        """How often the p90 held so far."""
        return self.held / self.checked if self.checked else None


def _base_s(situation: Situation) -> float:
    return max(situation.estimate_s, _LEAST_S)


_PRESSED = ((1.5, 4.0), (2.0, 12.0), (3.0, 20.0), (4.0, 14.0), (2.0, 6.0))
"""First factors (p50, p90) under pressure by size of the estimate, for accounts that have more waiting."""
