"""Makes traces with the shape of a public production trace of a text-to-image diffusion service.

`TARGETS` holds that trace's figures. What it doesn't tell is made up here and said where it stands: tiers, memory,
the curve of an ordinary day, and how much of a job's time is its model's. Accounts are independent of models and
of the time of day. Counts are dealt out, not drawn, so small traces have the shape too.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice, pairwise
from operator import mul
from statistics import NormalDist
from types import MappingProxyType

from backend.operator_errors import OperatorError
from backend.simulator.trace import TraceJob, gini

TARGETS: Mapping[str, float] = MappingProxyType(
    {
        "gpu_s_p50": 23.0,
        "gpu_s_p90": 53.0,
        "gpu_s_p95": 70.0,
        "gpu_s_p99": 106.0,
        "gini": 0.74,
        "top_share": 0.28,
        "peak_hour": 9.0,
        "models": 87,
        "first_model": 0.31,
        "first_ten_models": 0.87,
        "model_changes": 0.75,
    }
)
"""The public trace's figures, by the fields of `TraceShape`; execution times are for `scale_s` 1."""

MIN_JOBS = 800
MAX_JOBS = 5_000_000
DEFAULT_HOURS = 24.0

JOBS_PER_ACCOUNT = 8
"""Accounts are made in hundreds, as many as leave each at least this many jobs on average."""

TIER_MIX: Mapping[str, float] = MappingProxyType({"free": 0.80, "plus": 0.15, "pro": 0.05})
"""Shares of accounts, the least paid first. Made up: the public trace has no tiers."""

_HEAVY_PAYS = 0.5
"""Correlation of an account's rank by use with its rank by tier: heavy users pay more often, not always."""

_VRAM_GB = (24.0, 12.0, 48.0, 24.0, 24.0, 12.0, 80.0, 24.0, 48.0, 12.0)
"""Memory of the most popular model, the second, and so on, over and over: all fit a card of 80 GB."""

_MODEL_PART = 0.5
"""How much of the variance of a job's rank by execution time its model explains."""

_WAVES = 2.3
"""How even the hours are in what they ask for; less is wavier."""

_PEAK_AT_HOUR = 14
_SHOULDER = 0.15
"""What the hours beside a day's peak hour have of it, above an ordinary hour."""

_SHORTEST_S, _LONGEST_S = 2.0, 300.0

_NORMAL = NormalDist()


class TraceOptionsError(OperatorError):
    """No trace can be made from these options."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """What is asked of the generator; the defaults give a day on 8 GPUs.

    Say `jobs` or `hours`, not both: the other follows from `load`, the mean work as a share of what `gpus` can do
    over the trace. `scale_s` is how many seconds a job takes for each second in the public trace.
    `tiers` are shares of accounts that add up to 1, the least paid tier first.
    """

    seed: int = 1
    jobs: int | None = None
    hours: float | None = None
    gpus: int = 8
    load: float = 0.45
    scale_s: float = 1.0
    tiers: Mapping[str, float] = field(default_factory=lambda: TIER_MIX)


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """An hour, the end of one, or in a trace of less than a day a 24th of it."""

    length_s: float
    hour_of_day: int


def generate(options: TraceOptions) -> list[TraceJob]:
    """A trace by arrival, the same for the same options on any machine.

    Raises TraceOptionsError for options outside their bounds, and where the jobs would be fewer than `MIN_JOBS`
    or more than `MAX_JOBS`.
    """
    _check(options)
    rng = random.Random(options.seed)
    count = _job_count(options)
    times = _execution_times(rng, count, options.scale_s)
    span_s = math.fsum(times) / (options.gpus * options.load)
    arrivals = _arrivals(rng, count, span_s)
    models = _models(rng, arrivals)
    times = _times_by_model(rng, times, models)
    owners, by_use = _owners(rng, times)
    tiers = _tiers(rng, by_use, options.tiers)
    digits = len(str(len(by_use)))
    users = [f"u{account + 1:0{digits}}" for account in range(len(by_use))]
    return [
        TraceJob(
            arrival_s=arrival_s,
            user=users[owner],
            tier=tiers[owner],
            model=f"m{model + 1:02}",
            gpu_s=gpu_s,
            vram_gb=_VRAM_GB[model % len(_VRAM_GB)],
        )
        for arrival_s, owner, model, gpu_s in zip(arrivals, owners, models, times, strict=True)
    ]


def _check(options: TraceOptions) -> None:
    if options.jobs is not None and options.hours is not None:
        raise TraceOptionsError("both jobs and hours are given", "give one; the other follows from the load")
    bounds: tuple[tuple[str, float, float, float], ...] = (
        ("jobs", options.jobs if options.jobs is not None else MIN_JOBS, MIN_JOBS, MAX_JOBS),
        ("hours", options.hours if options.hours is not None else DEFAULT_HOURS, 0.01, 24 * 366),
        ("gpus", options.gpus, 1, 100_000),
        ("load", options.load, 0.001, 100),
        ("scale_s", options.scale_s, 0.001, 1000),
    )
    for name, value, least, most in bounds:
        if not least <= value <= most:
            raise TraceOptionsError(f"{name} is {value}", f"give {least:g} to {most:.15g}")
    shares = options.tiers.values()
    if not all(share > 0 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise TraceOptionsError(
            f"the tiers' shares are {dict(options.tiers)}", "give shares above 0 that add up to 1"
        )


def _job_count(options: TraceOptions) -> int:
    if options.jobs is not None:
        return options.jobs
    hours = options.hours if options.hours is not None else DEFAULT_HOURS
    grid = 100_000
    mean_s = math.fsum(_execution_s((cell + 0.5) / grid) for cell in range(grid)) / grid * options.scale_s
    count = round(hours * 3600 * options.gpus * options.load / mean_s)
    if not MIN_JOBS <= count <= MAX_JOBS:
        raise TraceOptionsError(
            f"{hours:g} hours of {options.gpus} GPUs at load {options.load:g} are {count} jobs",
            f"choose them so that there are {MIN_JOBS} to {MAX_JOBS}",
        )
    return count


def _line_through_quantiles() -> list[tuple[float, float]]:
    """The given execution times as (normal score, logarithm)."""
    given = ((0.50, "gpu_s_p50"), (0.90, "gpu_s_p90"), (0.95, "gpu_s_p95"), (0.99, "gpu_s_p99"))
    return [(_NORMAL.inv_cdf(share), math.log(TARGETS[name])) for share, name in given]


_KNOTS = _line_through_quantiles()


def _execution_s(share: float) -> float:
    """The inverse CDF: log-normal pieces through the given quantiles, the outer ones drawn on to the bounds."""
    score = _NORMAL.inv_cdf(share)
    piece = min(max(bisect_left(_KNOTS, (score,)), 1), len(_KNOTS) - 1)
    (score_0, log_0), (score_1, log_1) = _KNOTS[piece - 1], _KNOTS[piece]
    log = log_0 + (score - score_0) * (log_1 - log_0) / (score_1 - score_0)
    return min(max(math.exp(log), _SHORTEST_S), _LONGEST_S)


def _execution_times(rng: random.Random, count: int, scale_s: float) -> list[float]:
    """Ascending; one from each of `count` equal parts of the distribution, to the millisecond."""
    shares = ((place + min(max(rng.random(), 1e-9), 1 - 1e-9)) / count for place in range(count))
    return [max(0.001, round(_execution_s(share) * scale_s, 3)) for share in shares]


def _times_by_model(rng: random.Random, ascending: Sequence[float], models: Sequence[int]) -> list[float]:
    """The same execution times dealt out so that a model is slow or fast throughout, in part."""
    own = [rng.gauss(0, math.sqrt(_MODEL_PART)) for _ in range(int(TARGETS["models"]))]
    rest = math.sqrt(1 - _MODEL_PART)
    scores = [own[model] + rng.gauss(0, rest) for model in models]
    times = [0.0] * len(models)
    for time_s, job in zip(ascending, sorted(range(len(models)), key=scores.__getitem__), strict=True):
        times[job] = time_s
    return times


def _arrivals(rng: random.Random, count: int, span_s: float) -> list[float]:
    """Ascending, to the millisecond: the day's curve gives each hour its jobs, which fall anywhere in it.

    The last one comes at the very end, so that a reader of the trace finds the span it was made for.
    """
    slots = _slots(span_s)
    arrivals = []
    start_s = 0.0
    for slot, jobs in zip(slots, _dealt(count, _slot_weights(slots)), strict=True):
        arrivals += [round(start_s + rng.random() * slot.length_s, 3) for _ in range(jobs)]
        start_s += slot.length_s
    arrivals.sort()
    arrivals[-1] = round(span_s, 3)
    return arrivals


def _slots(span_s: float) -> list[_Slot]:
    hour_s = min(3600.0, span_s / 24)
    full = max(24, math.floor(span_s / hour_s + 1e-9))
    slots = [_Slot(length_s=hour_s, hour_of_day=hour % 24) for hour in range(full)]
    rest_s = span_s - full * hour_s
    if rest_s > 1e-6 * hour_s:
        slots.append(_Slot(length_s=rest_s, hour_of_day=full % 24))
    return slots


def _slot_weights(slots: Sequence[_Slot]) -> list[float]:
    """Arrivals of each slot: a cosine over the day, and a peak as high as makes its hour `peak_hour` times the mean.

    With an ordinary hour's rate o and the peak's height x above it, the peak hour is o + x and an hour on average
    is (sum of o + x * peaks) / hours; equal o + x to `peak_hour` means and x follows.
    """
    hours = [slot.length_s / slots[0].length_s for slot in slots]
    ordinary = [1 + 0.5 * math.cos(math.tau * (slot.hour_of_day - _PEAK_AT_HOUR) / 24) for slot in slots]
    beside = {0: 1.0, 1: _SHOULDER}
    peak = [beside.get(abs(slot.hour_of_day - _PEAK_AT_HOUR), 0.0) for slot in slots]
    target = TARGETS["peak_hour"]
    mean_ordinary = sum(map(mul, hours, ordinary)) / sum(hours)
    mean_peak = sum(map(mul, hours, peak)) / sum(hours)
    height = (target * mean_ordinary - max(ordinary)) / (1 - target * mean_peak)
    return [length * (o + height * p) for length, o, p in zip(hours, ordinary, peak, strict=True)]


def _models(rng: random.Random, arrivals: Sequence[float]) -> list[int]:
    """Which model each arrival asks for, 0 the most popular.

    Popularity is rank to a power, with one power down to the tenth model and a steeper one after it, so that the
    first, the first ten and all of them have their shares. Drawn independently, neighbours would differ in 85 % of
    the cases and not in `model_changes`: what people ask for comes in waves. The last few pairs change places until
    exactly that share differs.
    """
    count = len(arrivals)
    ranks = int(TARGETS["models"])
    first, first_ten = TARGETS["first_model"], TARGETS["first_ten_models"]
    head_power = _root(lambda power: first * sum(rank**-power for rank in range(1, 11)) - first_ten, 0, 5)
    tenth = first * 10**-head_power
    tail_power = _root(
        lambda power: tenth * sum((rank / 10) ** -power for rank in range(11, ranks + 1)) - (1 - first_ten),
        0,
        20,
    )
    of_first, of_ten = round(count * first), round(count * first_ten)
    tail = ranks - 10
    counts = [
        of_first,
        *_dealt(of_ten - of_first, [rank**-head_power for rank in range(2, 11)]),
        *(1 + n for n in _dealt(count - of_ten - tail, [rank**-tail_power for rank in range(11, ranks + 1)])),
    ]
    models = _in_waves(rng, counts, arrivals)
    _reach_changes(rng, models, round(TARGETS["model_changes"] * (count - 1)))
    return models


def _in_waves(rng: random.Random, counts: Sequence[int], arrivals: Sequence[float]) -> list[int]:
    """Deals each model's jobs over the hours, with a popularity that differs from hour to hour.

    An hour's popularity is drawn from a Dirichlet distribution around the whole day's. Its concentration makes two
    jobs of one hour ask for the same model about as often as neighbours do (25 %), at any distance.
    """
    total = len(arrivals)
    hours = max(1, math.ceil((arrivals[-1] + 1e-9) / 3600)) if arrivals else 1
    first_of = [bisect_left(arrivals, 3600.0 * hour) for hour in range(hours)] + [total]
    room = [end - start for start, end in pairwise(first_of)]
    dealt = [
        _dealt(jobs, [n * rng.gammavariate(_WAVES * jobs / total, 1) + 1e-9 for n in room]) for jobs in counts
    ]
    by_hour = [
        [model for model, jobs in enumerate(dealt) for _ in range(jobs[hour])] for hour in range(hours)
    ]
    spare: list[int] = []
    for models, places in zip(by_hour, room, strict=True):
        rng.shuffle(models)
        spare += models[places:]
        del models[places:]
    rng.shuffle(spare)
    for models, places in zip(by_hour, room, strict=True):
        while len(models) < places:
            models.append(spare.pop())
        rng.shuffle(models)
    return [model for models in by_hour for model in models]


def _reach_changes(rng: random.Random, models: list[int], wanted: int) -> None:
    """Swaps pairs of jobs, each time only if that brings the number of changes nearer to `wanted`."""
    missing = wanted - sum(one != other for one, other in pairwise(models))
    last = len(models) - 2
    while missing:
        one, other = 1 + int(rng.random() * last), 1 + int(rng.random() * last)
        if abs(one - other) < 2:
            continue
        mine, theirs = models[one], models[other]
        beside_one = (models[one - 1], models[one + 1])
        beside_other = (models[other - 1], models[other + 1])
        gained = (
            beside_one.count(mine)
            + beside_other.count(theirs)
            - beside_one.count(theirs)
            - beside_other.count(mine)
        )
        if abs(missing - gained) < abs(missing):
            models[one], models[other] = theirs, mine
            missing -= gained


def _owners(rng: random.Random, times: Sequence[float]) -> tuple[list[int], list[int]]:
    """The account of each job, and the accounts by use, least first.

    Jobs in random order fill the top 1 % of accounts until those have their share of GPU time. The rest are dealt
    to the other accounts: one each, and more by a log-normal law as wide as makes the Gini what it should be.
    """
    order = list(range(len(times)))
    rng.shuffle(order)
    until = list(accumulate((times[job] for job in order), initial=0.0))
    accounts = 100 * max(1, len(times) // (100 * JOBS_PER_ACCOUNT))
    top = accounts // 100
    of_top = bisect_left(until, TARGETS["top_share"] * until[-1])

    def spread(width: float) -> list[int]:
        scores = (_NORMAL.inv_cdf((place + 0.5) / accounts) for place in range(accounts - top))
        more = _dealt(len(times) - of_top - (accounts - top), [math.exp(width * score) for score in scores])
        most = min(1 + more[-1], of_top // top)
        above = _dealt(of_top - top * most, [1 / rank for rank in range(top, 0, -1)])
        return [most + n for n in reversed(above)] + [1 + n for n in reversed(more)]

    def use(counts: Sequence[int]) -> list[float]:
        ends = [until[end] for end in accumulate(counts, initial=0)]
        return [end - start for start, end in pairwise(ends)]

    counts = spread(_root(lambda width: gini(use(spread(width))) - TARGETS["gini"], 0.1, 4, steps=20))
    names = list(range(accounts))
    rng.shuffle(names)
    owners = [0] * len(times)
    turns = iter(order)
    for name, jobs in zip(names, counts, strict=True):
        for job in islice(turns, jobs):
            owners[job] = name
    used = use(counts)
    return owners, [names[place] for place in sorted(range(accounts), key=used.__getitem__)]


def _tiers(rng: random.Random, by_use: Sequence[int], mix: Mapping[str, float]) -> list[str]:
    """The tier of each account, in exactly the shares of `mix`."""
    other = math.sqrt(1 - _HEAVY_PAYS**2)
    scored = sorted(
        (_HEAVY_PAYS * _NORMAL.inv_cdf((rank + 0.5) / len(by_use)) + rng.gauss(0, other), account)
        for rank, account in enumerate(by_use)
    )
    names = [
        name for name, n in zip(mix, _dealt(len(by_use), list(mix.values())), strict=True) for _ in range(n)
    ]
    tiers = [""] * len(by_use)
    for (_, account), name in zip(scored, names, strict=True):
        tiers[account] = name
    return tiers


def _dealt(count: int, weights: Sequence[float]) -> list[int]:
    """`count` things in proportion to the weights, by largest remainder."""
    scale = count / math.fsum(weights)
    shares = [weight * scale for weight in weights]
    whole = [int(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda place: whole[place] - shares[place])
    for place in by_remainder[: count - sum(whole)]:
        whole[place] += 1
    return whole


def _root(error: Callable[[float], float], low: float, high: float, *, steps: int = 60) -> float:
    """Where a monotone function is 0, by halving; the nearer end if it is 0 nowhere between."""
    rises = error(high) > error(low)
    for _ in range(steps):
        middle = (low + high) / 2
        if (error(middle) > 0) == rises:
            high = middle
        else:
            low = middle
    return (low + high) / 2
