"""What an account may do, as data. The database holds the rows in force; these are the first ones."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from math import isfinite
from types import MappingProxyType

from backend.domain.errors import InvalidField

DEFAULT_TIER = "free"
"""Where an account begins that nobody put elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Tier:
    """Weight is a share of GPU time against the other tiers; `floor` is the least share while it has work.

    `ceiling` bounds the wait of a job inside its account's share. `monthly_grant` credits come with each month and
    stay usable for `rollover_months` more. At most `grants_per_network` accounts that people made themselves get them
    in one network and month (0: any number). A waiting job's checkpoint is kept for `checkpoint_retention`.
    """

    name: str
    weight: float
    floor: float
    ceiling: timedelta
    concurrency_limit: int
    queue_limit: int
    daily_jobs: int
    monthly_grant: int
    rollover_months: int
    grants_per_network: int
    max_seconds: float
    max_pixels: int
    retention: timedelta
    checkpoint_retention: timedelta
    submits_per_minute: int


TIERS: MappingProxyType[str, Tier] = MappingProxyType(
    {
        tier.name: tier
        for tier in (
            Tier(
                name="free",
                weight=1,
                floor=0.05,
                ceiling=timedelta(minutes=15),
                concurrency_limit=1,
                queue_limit=10,
                daily_jobs=50,
                monthly_grant=200,
                rollover_months=0,
                grants_per_network=5,
                max_seconds=5,
                max_pixels=854 * 480,
                retention=timedelta(days=30),
                checkpoint_retention=timedelta(days=1),
                submits_per_minute=20,
            ),
            Tier(
                name="plus",
                weight=2,
                floor=0.0,
                ceiling=timedelta(minutes=12),
                concurrency_limit=3,
                queue_limit=50,
                daily_jobs=500,
                monthly_grant=2_000,
                rollover_months=0,
                grants_per_network=0,
                max_seconds=10,
                max_pixels=1280 * 720,
                retention=timedelta(days=180),
                checkpoint_retention=timedelta(days=3),
                submits_per_minute=60,
            ),
            Tier(
                name="pro",
                weight=4,
                floor=0.0,
                ceiling=timedelta(minutes=10),
                concurrency_limit=10,
                queue_limit=200,
                daily_jobs=5_000,
                monthly_grant=10_000,
                rollover_months=0,
                grants_per_network=0,
                max_seconds=20,
                max_pixels=1920 * 1088,
                retention=timedelta(days=365),
                checkpoint_retention=timedelta(days=7),
                submits_per_minute=120,
            ),
            Tier(
                name="internal",
                weight=4,
                floor=0.0,
                ceiling=timedelta(minutes=10),
                concurrency_limit=50,
                queue_limit=10_000,
                daily_jobs=100_000,
                monthly_grant=100_000,
                rollover_months=0,
                grants_per_network=0,
                max_seconds=60,
                max_pixels=3840 * 2176,
                retention=timedelta(days=365),
                checkpoint_retention=timedelta(days=7),
                submits_per_minute=6_000,
            ),
        )
    }
)

_BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "weight": (0.001, 1e6),
        "floor": (0, 0.9),
        "concurrency_limit": (1, 1e6),
        "queue_limit": (1, 1e6),
        "daily_jobs": (0, 1e9),
        "monthly_grant": (0, 1e9),
        "rollover_months": (0, 24),
        "grants_per_network": (0, 1e6),
        "max_seconds": (0.1, 3600),
        "max_pixels": (1, 1e9),
        "submits_per_minute": (1, 1e6),
    }
)
_SHORTEST: Mapping[str, timedelta] = MappingProxyType(
    {
        "ceiling": timedelta(seconds=1),
        "retention": timedelta(hours=1),
        "checkpoint_retention": timedelta(minutes=1),
    }
)
_LONGEST = timedelta(days=36_500)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|)")
_UNIT_S: Mapping[str, int] = MappingProxyType({"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400})
EDITABLE = tuple(field.name for field in fields(Tier) if field.name != "name")


def changed(tier: Tier, changes: Mapping[str, str]) -> Tier:
    """The tier with values as somebody typed them: numbers, and durations such as `90s`, `30m`, `2h` or `7d`.

    Raises `InvalidField` naming the field and what would be right.
    """
    values: dict[str, object] = {}
    for name, text in changes.items():
        if name not in EDITABLE:
            raise InvalidField(f"A tier has no {name!r}. It has: {', '.join(EDITABLE)}.", param=name)
        typed = text.strip().replace("_", "").replace(",", "")
        if name in _SHORTEST:
            values[name] = _duration(name, typed)
        else:
            values[name] = _number(name, typed, whole=isinstance(getattr(tier, name), int))
    return replace(tier, **values)  # type: ignore[arg-type]  # each value is of its field's type


def check_floors(tiers: Iterable[Tier]) -> None:
    """Floors leave something to share. Raises `InvalidField`."""
    floors = sum(tier.floor for tier in tiers)
    if floors >= 1:
        raise InvalidField(
            f"The floors of all tiers add up to {floors:g}; they must stay below 1.", param="floor"
        )


def _number(name: str, text: str, *, whole: bool) -> float:
    low, high = _BOUNDS[name]
    kind = "a whole number" if whole else "a number"
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or not low <= value <= high or (whole and value != int(value)):
        raise InvalidField(f"{name} is {kind} from {low:g} to {high:g}, not {text!r}.", param=name)
    return int(value) if whole else value


def _duration(name: str, text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    shortest = _SHORTEST[name]
    value = timedelta(seconds=min(float(found[1]) * _UNIT_S[found[2]], 1e10)) if found else timedelta(0)
    if not shortest <= value <= _LONGEST:
        raise InvalidField(
            f"{name} is a time such as 90s, 30m, 2h or 7d, {shortest} or more, not {text!r}.", param=name
        )
    return value
