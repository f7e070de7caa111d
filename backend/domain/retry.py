"""From the failures of a job to what follows: whose fault they are, and whether the job is tried again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from backend.domain.attempt import Cause


class Blame(StrEnum):
    """What a failure counts against."""

    JOB = "job"
    UNCLEAR = "unclear"  # the job's or the worker's: further failures tell
    WORKER = "worker"
    NOBODY = "nobody"


MAX_JOB_FAILURES = 2
"""Failures that are the job's own, or the same one on this many different workers, after which it fails."""
MAX_ON_ONE_WORKER = 3
"""Unclear failures on one worker, whose other jobs go well, after which the job fails."""
MAX_TRIES_IN_SAME_MEMORY = 2
"""Another model may have filled the memory the first time."""
MAX_FAILED_ATTEMPTS = 12
"""A bound on failures of every kind, so that a job that kills workers ends too."""

_BLAME: MappingProxyType[str, Blame] = MappingProxyType(
    {
        Cause.BAD_ORDER: Blame.JOB,
        Cause.BAD_INPUT: Blame.JOB,
        Cause.NOT_A_NUMBER: Blame.JOB,
        Cause.ENGINE_ERROR: Blame.UNCLEAR,
        Cause.OUT_OF_MEMORY: Blame.UNCLEAR,
        Cause.MODEL_UNAVAILABLE: Blame.WORKER,
        Cause.STORAGE_ERROR: Blame.WORKER,
        Cause.BAD_CLIP: Blame.WORKER,
        Cause.NOT_TAKEN: Blame.WORKER,
        Cause.LEASE_EXPIRED: Blame.WORKER,
        Cause.WORKER_LOST: Blame.WORKER,
        Cause.STALLED: Blame.WORKER,
        Cause.HANDED_BACK: Blame.NOBODY,
        Cause.PREEMPTED: Blame.NOBODY,
        Cause.CANCELLED: Blame.NOBODY,
    }
)
_MAY_BE_ITS_DOING = frozenset(
    {cause for cause, blame in _BLAME.items() if blame in (Blame.JOB, Blame.UNCLEAR)}
    | {Cause.LEASE_EXPIRED, Cause.WORKER_LOST, Cause.STALLED}
)
_HOPELESS = frozenset({Cause.BAD_ORDER, Cause.BAD_INPUT})


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An attempt that ended without a clip: why, and on which worker."""

    cause: str
    worker_id: str


class Outlook(StrEnum):
    """What becomes of a job after an attempt that ended without a clip."""

    AGAIN = "again"
    MORE_MEMORY = "more_memory"  # again, on a worker with more memory
    LESS_HUNGRY = "less_hungry"  # again, with the recipe's switches that save memory
    JOB_FAILS = "job_fails"  # the failures are its own
    WORKERS_FAIL = "workers_fail"  # they aren't, and are too many


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What could help a job that ran out of memory. `tries`: how often it did so under the same conditions."""

    larger_worker: bool
    switch_left: bool
    tries: int


def blame_of(cause: str) -> Blame:
    """Whose failure it is. An unknown cause is the worker's: a job isn't failed by what we don't understand."""
    return _BLAME.get(cause, Blame.WORKER)


def outlook(failures: Sequence[Failure], *, worker_is_sound: bool, memory: Memory | None = None) -> Outlook:
    """What follows the last of a job's `failures`, which are all of its attempts that ended, first to last.

    `worker_is_sound`: what the last failure's worker did just before, for another job, went well. `memory` is asked
    where the last failure is `out_of_memory`.
    """
    last = failures[-1]
    blame = blame_of(last.cause)
    if blame is Blame.NOBODY:
        return Outlook.AGAIN
    if last.cause in _HOPELESS:
        return Outlook.JOB_FAILS
    if last.cause == Cause.OUT_OF_MEMORY:
        follows = _after_out_of_memory(memory)
    elif blame is Blame.JOB:
        own = sum(blame_of(each.cause) is Blame.JOB for each in failures)
        follows = Outlook.JOB_FAILS if own >= MAX_JOB_FAILURES else Outlook.AGAIN
    elif blame is Blame.UNCLEAR:
        follows = Outlook.JOB_FAILS if _is_its_own(failures, worker_is_sound) else Outlook.AGAIN
    else:
        follows = Outlook.AGAIN
    if follows is Outlook.JOB_FAILS:
        return follows
    counted = sum(blame_of(each.cause) is not Blame.NOBODY for each in failures)
    return Outlook.WORKERS_FAIL if counted >= MAX_FAILED_ATTEMPTS else follows


def may_share_batch(causes: Iterable[str]) -> bool:
    """Whether a job that met with these failures may run in a batch.

    Not once it failed, or its worker died or stood still under it: so it takes no neighbours with it again.
    """
    return not any(cause in _MAY_BE_ITS_DOING for cause in causes)


def _is_its_own(failures: Sequence[Failure], worker_is_sound: bool) -> bool:
    last = failures[-1]
    alike = [each for each in failures if each.cause == last.cause]
    if len({each.worker_id for each in alike}) >= MAX_JOB_FAILURES:
        return True
    return worker_is_sound and len(alike) >= MAX_ON_ONE_WORKER


def _after_out_of_memory(memory: Memory | None) -> Outlook:
    if memory is None:
        return Outlook.AGAIN
    if memory.larger_worker:
        return Outlook.MORE_MEMORY
    if memory.switch_left:
        return Outlook.LESS_HUNGRY
    return Outlook.AGAIN if memory.tries < MAX_TRIES_IN_SAME_MEMORY else Outlook.JOB_FAILS
