"""Median and 90th percentile of a few outcomes, beside what was expected of them. Pure."""

import math
from collections.abc import Iterable
from statistics import median

_EXPECTED = 4
"""What is expected counts as so many outcomes: all but one as usual, one late."""


def usual_and_late(outcomes: Iterable[float], usual: float, late: float) -> tuple[float, float]:
    """Median, and what nine of ten further outcomes stay below, with `usual` and `late` as outcomes among them.

    The rank is taken among one more than there are (split conformal prediction, Vovk 2005), so that a few outcomes
    give a wide answer; from the fifteenth on `late` no longer holds it up. Until then the longest alone does not
    widen it: with few, one mishap would.
    """
    ordered = sorted([*outcomes, *[usual] * (_EXPECTED - 1), late])
    rank = math.ceil(0.9 * (len(ordered) + 1))
    middle = median(ordered)
    high = ordered[rank - 1] if rank < len(ordered) else max(late, ordered[-2])
    return middle, max(middle, high)
