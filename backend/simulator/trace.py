"""Traces: which job arrives when. Reading, writing and measuring them; `generate` makes them.

A trace is a CSV file in UTF-8 whose header names the columns of `TraceJob`, in any order; columns that are not
among them are passed over.
"""

import contextlib
import csv
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter, itemgetter
from pathlib import Path

from backend.operator_errors import OperatorError

COLUMNS = ("arrival_s", "user", "tier", "model", "gpu_s", "vram_gb")

MAX_ARRIVAL_S = 1e9
MAX_GPU_S = 1e7
MAX_VRAM_GB = 1e4
MAX_NAME_LENGTH = 200

LIGHT_ACCOUNT_JOBS = 3
"""An account with at most this many jobs in a trace is a light one."""

_RIGHT = {
    "arrival_s": f"seconds since the trace began, a number from 0 to {MAX_ARRIVAL_S:.0f}",
    "user": f"the account's name, 1 to {MAX_NAME_LENGTH} printable characters",
    "tier": f"the tier's name, such as free, 1 to {MAX_NAME_LENGTH} printable characters",
    "model": f"the model's name, 1 to {MAX_NAME_LENGTH} printable characters",
    "gpu_s": f"seconds on a GPU, a number above 0 and at most {MAX_GPU_S:.0f}",
    "vram_gb": f"gigabytes of GPU memory, a number above 0 and at most {MAX_VRAM_GB:.0f}",
}


class TraceError(OperatorError):
    """A trace can't be read, written or measured."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceJob:
    """One row: `user` of `tier` asks at `arrival_s` for `gpu_s` seconds of `model`, which needs `vram_gb`.

    `arrival_s` counts from the trace's beginning; `gpu_s` is without loading the model.
    """

    arrival_s: float
    user: str
    tier: str
    model: str
    gpu_s: float
    vram_gb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceShape:
    """What a trace looks like; shares are fractions of 1.

    `span_s` runs from 0 to the last arrival. `peak_hour` is the busiest hour's arrivals over the mean hour's,
    hours counted from 0; in a trace shorter than a day an hour is a 24th of the span. `gini` and `top_share`
    (the top 1 % of accounts, at least one) are of GPU time over accounts. `model_changes` is the share of
    neighbours in order of arrival that differ in model; `light_accounts` the share of accounts with at most
    `LIGHT_ACCOUNT_JOBS` jobs.
    """

    jobs: int
    accounts: int
    models: int
    span_s: float
    work_gpu_s: float
    gpu_s_p50: float
    gpu_s_p90: float
    gpu_s_p95: float
    gpu_s_p99: float
    gini: float
    top_share: float
    peak_hour: float
    first_model: float
    first_ten_models: float
    model_changes: float
    light_accounts: float

    def load(self, gpus: int) -> float:
        """The mean work as a share of what `gpus` can do over the span; infinite if all arrives at 0."""
        return self.work_gpu_s / (self.span_s * gpus) if self.span_s else math.inf


def read_trace(path: Path) -> list[TraceJob]:
    """The jobs of a file by arrival; those that arrive together keep the file's order.

    Raises TraceError with line, column, value and what would be right.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            jobs = list(_jobs_of(path, file))
    except OSError as error:
        raise TraceError(f"{path} can't be read ({error.strerror})", "name a CSV file") from error
    except UnicodeDecodeError as error:
        raise TraceError(
            f"{path} is not text in UTF-8 ({error.reason})", "save it as CSV in UTF-8"
        ) from error
    jobs.sort(key=attrgetter("arrival_s"))
    return jobs


def write_trace(path: Path, jobs: Sequence[TraceJob]) -> None:
    """Writes the jobs in their order, whole or not at all; `read_trace` gives back equal ones.

    Raises TraceError for a job that could not be read back, and where the file can't be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            for line, job in enumerate(jobs, start=2):
                row = [str(getattr(job, column)) for column in COLUMNS]
                if _job_of(row, {}) != job:
                    raise _wrong(path, line, row)
                rows.writerow(row)
        unfinished.replace(path)
    except OSError as error:
        raise TraceError(
            f"{path} can't be written ({error.strerror})", "name a file in a folder that you may write to"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def shape_of(jobs: Sequence[TraceJob]) -> TraceShape:
    """Measures a trace, in any order. Raises TraceError if it has no jobs."""
    if not jobs:
        raise TraceError("a trace without jobs has no shape", "give it at least one row")
    by_arrival = sorted(jobs, key=attrgetter("arrival_s"))
    span_s = by_arrival[-1].arrival_s
    times = sorted(job.gpu_s for job in jobs)
    work: dict[str, float] = {}
    for job in jobs:
        work[job.user] = work.get(job.user, 0.0) + job.gpu_s
    per_account = sorted(work.values(), reverse=True)
    work_gpu_s = math.fsum(times)
    top = max(1, round(len(per_account) / 100))
    of_models = [count for _, count in Counter(job.model for job in jobs).most_common()]
    changes = sum(one.model != other.model for one, other in pairwise(by_arrival))
    of_accounts = Counter(job.user for job in jobs)
    return TraceShape(
        jobs=len(jobs),
        accounts=len(work),
        models=len(of_models),
        span_s=span_s,
        work_gpu_s=work_gpu_s,
        gpu_s_p50=_quantile(times, 0.50),
        gpu_s_p90=_quantile(times, 0.90),
        gpu_s_p95=_quantile(times, 0.95),
        gpu_s_p99=_quantile(times, 0.99),
        gini=gini(per_account),
        top_share=sum(per_account[:top]) / work_gpu_s,
        peak_hour=_peak_hour([job.arrival_s for job in by_arrival]),
        first_model=of_models[0] / len(jobs),
        first_ten_models=sum(of_models[:10]) / len(jobs),
        model_changes=changes / max(1, len(jobs) - 1),
        light_accounts=sum(n <= LIGHT_ACCOUNT_JOBS for n in of_accounts.values()) / len(of_accounts),
    )


def gini(amounts: Sequence[float]) -> float:
    """Gini's coefficient of amounts above 0: 0 if all are equal, toward 1 if one has everything."""
    count = len(amounts)
    weighted = sum(rank * amount for rank, amount in enumerate(sorted(amounts), start=1))
    return 2 * weighted / (count * sum(amounts)) - (count + 1) / count


def _jobs_of(path: Path, file: Iterator[str]) -> Iterator[TraceJob]:
    rows = csv.reader(file, strict=True)
    names: dict[str, str] = {}
    try:
        header = [name.strip() for name in next(rows, [])]
        for column in COLUMNS:
            if header.count(column) != 1:
                raise TraceError(
                    f"{path}, line 1, column {column}: it is there {header.count(column)} times",
                    f"begin the file with the header {','.join(COLUMNS)}",
                )
        pick = itemgetter(*(header.index(column) for column in COLUMNS))
        for row in rows:
            if len(row) != len(header):
                if not row:
                    continue
                raise TraceError(
                    f"{path}, line {rows.line_num}: {len(row)} fields",
                    f"give {len(header)}, as the header has",
                )
            job = _job_of(pick(row), names)
            if job is None:
                raise _wrong(path, rows.line_num, pick(row))
            yield job
    except csv.Error as error:
        raise TraceError(
            f"{path}, line {rows.line_num}: not CSV ({error})",
            'quote a field with commas or quotes: "a ""b"""',
        ) from error


def _job_of(row: Sequence[str], names: dict[str, str]) -> TraceJob | None:
    """The row's job, or None if any field is wrong. `names` keeps one string for each name of a long file."""
    arrival, user, tier, model, gpu, vram = row
    try:
        arrival_s, gpu_s, vram_gb = float(arrival), float(gpu), float(vram)
        known = names[user], names[tier], names[model]
    except ValueError:
        return None
    except KeyError:
        for name in (user, tier, model):
            if not _is_name(name.strip()):
                return None
            names[name] = name.strip()
        known = names[user], names[tier], names[model]
    if not (0 <= arrival_s <= MAX_ARRIVAL_S and 0 < gpu_s <= MAX_GPU_S and 0 < vram_gb <= MAX_VRAM_GB):
        return None
    return TraceJob(
        arrival_s=arrival_s, user=known[0], tier=known[1], model=known[2], gpu_s=gpu_s, vram_gb=vram_gb
    )


def _wrong(path: Path, line: int, row: Sequence[str]) -> TraceError:
    """Names the row's first wrong field: the one that makes a row of right ones wrong."""
    for index, column in enumerate(COLUMNS):
        trial = ["1", "u", "t", "m", "1", "1"]
        trial[index] = row[index]
        if _job_of(trial, {}) is None or (
            column in ("user", "tier", "model") and row[index] != row[index].strip()
        ):
            break
    shown = row[index] if len(row[index]) <= 40 else row[index][:40] + "..."
    return TraceError(f"{path}, line {line}, column {column}: {shown!r}", f"give {_RIGHT[column]}")


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two nearest values, in a straight line."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _peak_hour(arrivals_s: Sequence[float]) -> float:
    span_s = arrivals_s[-1]
    hour_s = min(3600.0, span_s / 24)
    if not hour_s:
        return 1.0
    busiest = max(Counter(int(arrival_s / hour_s) for arrival_s in arrivals_s).values())
    return busiest * span_s / (hour_s * len(arrivals_s))
