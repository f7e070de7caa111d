"""The generation job: its states, what moves it between them, and the only function that does."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """Where a job is. Each comment says what it means and who moves the job out of it."""

    QUEUED = "queued"  # waits for a worker; not dispatchable before its input verdict. Out: screen, dispatch, cancel
    ASSIGNED = (
        "assigned"  # an order lies with a worker. Out: that worker's start or report, the reaper, cancel
    )
    RUNNING = "running"  # that worker said that it began. Out: its report, the reaper, cancel
    MODERATING = "moderating"  # the clip is in storage, withheld; too late to cancel. Out: moderate
    IN_REVIEW = "in_review"  # a human decides. Out: decide_review, cancel
    APPROVED = "approved"  # may be shown, not yet charged. Out: publish
    COMPLETED = "completed"  # end: released and charged
    FAILED = "failed"  # end: gave up; nothing charged
    BLOCKED = "blocked"  # end: a verdict forbids it; nothing charged
    CANCELLED = "cancelled"  # end: its owner stopped it; charged for the steps done


class InputVerdict(StrEnum):
    """What was said of a job's prompt and images. Each comment says who says the next."""

    PENDING = "pending"  # not judged yet. Out: screen_input
    ALLOW = "allow"  # may be dispatched
    REVIEW = "review"  # a human decides. Out: decide_review
    BLOCK = "block"  # the job is blocked


class JobEvent(StrEnum):
    """What can happen to a job."""

    INPUT_BLOCKED = "input_blocked"
    DISPATCHED = "dispatched"
    STARTED = "started"
    RETURNED = "returned"
    RENDERED = "rendered"
    GAVE_UP = "gave_up"
    REVIEW_NEEDED = "review_needed"
    ALLOWED = "allowed"
    OUTPUT_BLOCKED = "output_blocked"
    PUBLISHED = "published"
    CANCELLED = "cancelled"


ENDS = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.BLOCKED, JobState.CANCELLED})
ON_WORKER = frozenset({JobState.ASSIGNED, JobState.RUNNING})

SHOWS_PREVIEW = frozenset(
    {JobState.QUEUED, JobState.ASSIGNED, JobState.RUNNING, JobState.MODERATING, JobState.APPROVED}
)
"""While a human decides, and after an end, not even a blurred frame is shown."""

_S, _E = JobState, JobEvent
TRANSITIONS: MappingProxyType[tuple[JobState, JobEvent], JobState] = MappingProxyType(
    {
        (_S.QUEUED, _E.INPUT_BLOCKED): _S.BLOCKED,
        (_S.QUEUED, _E.DISPATCHED): _S.ASSIGNED,
        (_S.QUEUED, _E.GAVE_UP): _S.FAILED,
        (_S.QUEUED, _E.CANCELLED): _S.CANCELLED,
        (_S.ASSIGNED, _E.STARTED): _S.RUNNING,
        (_S.ASSIGNED, _E.RETURNED): _S.QUEUED,
        (_S.ASSIGNED, _E.RENDERED): _S.MODERATING,
        (_S.ASSIGNED, _E.GAVE_UP): _S.FAILED,
        (_S.ASSIGNED, _E.CANCELLED): _S.CANCELLED,
        (_S.RUNNING, _E.RETURNED): _S.QUEUED,
        (_S.RUNNING, _E.RENDERED): _S.MODERATING,
        (_S.RUNNING, _E.GAVE_UP): _S.FAILED,
        (_S.RUNNING, _E.CANCELLED): _S.CANCELLED,
        (_S.MODERATING, _E.ALLOWED): _S.APPROVED,
        (_S.MODERATING, _E.REVIEW_NEEDED): _S.IN_REVIEW,
        (_S.MODERATING, _E.OUTPUT_BLOCKED): _S.BLOCKED,
        (_S.MODERATING, _E.RETURNED): _S.QUEUED,
        (_S.MODERATING, _E.GAVE_UP): _S.FAILED,
        (_S.IN_REVIEW, _E.ALLOWED): _S.APPROVED,
        (_S.IN_REVIEW, _E.OUTPUT_BLOCKED): _S.BLOCKED,
        (_S.IN_REVIEW, _E.CANCELLED): _S.CANCELLED,
        (_S.APPROVED, _E.PUBLISHED): _S.COMPLETED,
        (_S.APPROVED, _E.GAVE_UP): _S.FAILED,
    }
)


@dataclass(frozen=True)
class Snapshot:
    """What a transition starts from: the state as read, and the version that the save is conditional on."""

    state: JobState
    version: int


class IllegalTransition(Exception):
    """The event can't happen in this state: someone else was first, or the caller is wrong."""

    def __init__(self, state: JobState, event: JobEvent) -> None:
        self.state = state
        self.event = event
        super().__init__(f"a job that is {state} can't be {event}")


def advance(snapshot: Snapshot, event: JobEvent) -> Snapshot:
    """The state after `event`, with the next version. Raises `IllegalTransition`."""
    target = TRANSITIONS.get((snapshot.state, event))
    if target is None:
        raise IllegalTransition(snapshot.state, event)
    return Snapshot(state=target, version=snapshot.version + 1)


def can(state: JobState, event: JobEvent) -> bool:
    """Whether `event` may happen in `state`."""
    return (state, event) in TRANSITIONS
