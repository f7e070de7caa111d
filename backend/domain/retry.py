"""From the cause of a failure to what follows: whose fault it is, and whether the job is tried again."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Blame(StrEnum):
    """What a failure counts against."""

    JOB = "job"
    WORKER = "worker"
    NOBODY = "nobody"


MAX_JOB_FAILURES = 2
"""Failures that are the job's own, after which it fails."""
MAX_FAILED_ATTEMPTS = 12
"""A bound on failures of every kind, so that a job that kills workers ends too."""

_BLAME: MappingProxyType[str, Blame] = MappingProxyType(
    {
        "bad_order": Blame.JOB,
        "bad_input": Blame.JOB,
        "not_a_number": Blame.JOB,
        "engine_error": Blame.JOB,
        "out_of_memory": Blame.WORKER,
        "model_unavailable": Blame.WORKER,
        "storage_error": Blame.WORKER,
        "no_progress": Blame.WORKER,
        "lease_lost": Blame.WORKER,
        "worker_gone": Blame.WORKER,
        "handed_back": Blame.NOBODY,
        "preempted": Blame.NOBODY,
    }
)
_HOPELESS = frozenset({"bad_order", "bad_input"})


@dataclass(frozen=True, kw_only=True)
class History:
    """Counts over a job's failed attempts, this one included; handing back and preemption are no failures."""

    job_failures: int
    failed_attempts: int


def blame_of(cause: str) -> Blame:
    """Whose failure it is. An unknown cause is the worker's: a job isn't failed by what we don't understand."""
    return _BLAME.get(cause, Blame.WORKER)


def gives_up(cause: str, history: History) -> bool:
    """Whether the job fails now, rather than waiting for its next attempt."""
    if cause in _HOPELESS:
        return True
    if history.failed_attempts >= MAX_FAILED_ATTEMPTS:
        return True
    return blame_of(cause) is Blame.JOB and history.job_failures >= MAX_JOB_FAILURES
