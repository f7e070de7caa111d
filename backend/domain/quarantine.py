"""Whether a worker may be trusted with jobs, judged by how its last attempts ended.

A worker that fails several different jobs in a row rests, longer each time, and then proves itself on one job. Nobody
is sent to rest for good, and the last worker that can serve a model rests only briefly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from backend.domain.attempt import Cause

SUSPECT_JOBS = 3
"""So many different jobs that failed in a row are the worker's fault, not theirs."""
FIRST_REST = timedelta(seconds=30)
LONGEST_REST = timedelta(minutes=15)
LONGEST_REST_OF_THE_LAST = timedelta(minutes=1)
STALL_REST = timedelta(seconds=150)
"""A worker whose engine hangs ends itself two minutes after it was told to stop; until then it can run nothing."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An attempt that ended and tells something about its worker: its clip was made, or it failed there."""

    job_id: str
    good: bool
    cause: str = ""
    boot_id: str = ""
    ended_at: datetime


@dataclass(frozen=True, kw_only=True)
class Standing:
    """`rests_until` None: it takes jobs as they come. A moment that has passed: it takes one job, on probation."""

    rests_until: datetime | None = None
    reason: str = ""


class Takes(StrEnum):
    """What may be given to a worker now."""

    NOTHING = "nothing"
    ONE = "one"
    ALL = "all"


def judge(trials: Sequence[Trial], *, boot_id: str, last: bool) -> Standing:
    """A worker's standing by its `trials`, newest first. `last`: nobody else alive serves one of its models.

    `boot_id` is that of the worker's process now: one that was started again does not hang any more.
    """
    failed = _failed_in_a_row(trials)
    if not failed:
        return Standing()
    newest = failed[0]
    hangs = newest.cause == Cause.STALLED and newest.boot_id == boot_id
    rests: list[tuple[datetime, str]] = []
    if hangs:
        rests.append((newest.ended_at + STALL_REST, "It made no progress and may still hang."))
    jobs: set[str] = set()
    for count, trial in enumerate(reversed(failed)):
        jobs.add(trial.job_id)
        if len(jobs) == SUSPECT_JOBS:
            further = len(failed) - 1 - count
            rest = min(FIRST_REST * 2 ** min(further, 16), LONGEST_REST_OF_THE_LAST if last else LONGEST_REST)
            causes = ", ".join(sorted({each.cause for each in failed}))
            what = f"{len(failed)} attempts at {len({each.job_id for each in failed})} jobs failed in a row"
            rests.append((newest.ended_at + rest, f"{what}: {causes}."))
            break
    if not rests:
        return Standing()
    until, reason = max(rests)
    return Standing(rests_until=until, reason=reason)


def takes(rests_until: datetime | None, *, now: datetime) -> Takes:
    """What a worker of this standing may be given."""
    if rests_until is None:
        return Takes.ALL
    return Takes.ONE if rests_until <= now else Takes.NOTHING


def is_sound(trials: Sequence[Trial], *, job_id: str) -> bool:
    """Whether the worker's last trial with another job went well, so that this job's failure is not its doing."""
    return next((trial.good for trial in trials if trial.job_id != job_id), False)


def _failed_in_a_row(trials: Sequence[Trial]) -> list[Trial]:
    failed = []
    for trial in trials:
        if trial.good:
            break
        failed.append(trial)
    return failed
