"""What a job cost and why, in words that its payer can check. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from backend.domain.generation import ENDS, JobState


class Outcome(StrEnum):
    """Why the charge is what it is."""

    HELD = "held"
    DELIVERED = "delivered"
    CANCELLED_UNSTARTED = "cancelled_unstarted"
    CANCELLED_PARTWAY = "cancelled_partway"
    CANCELLED_WAITING = "cancelled_waiting"
    CANCELLED_IN_REVIEW = "cancelled_in_review"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True, kw_only=True)
class Charged:
    """What a receipt says of a job: all in credits. `charged` is None until its end, `charged_steps` 0."""

    state: JobState
    quoted: int
    charged: int | None
    steps: int
    charged_steps: int
    started: bool
    rendered: bool


def outcome_of(job: Charged) -> Outcome:
    """Which rule made the charge."""
    if job.state not in ENDS:
        return Outcome.HELD
    match job.state:
        case JobState.COMPLETED:
            return Outcome.DELIVERED
        case JobState.BLOCKED:
            return Outcome.BLOCKED
        case JobState.FAILED:
            return Outcome.FAILED
        case _ if job.rendered:
            return Outcome.CANCELLED_IN_REVIEW
        case _ if not job.started:
            return Outcome.CANCELLED_UNSTARTED
        case _:
            return Outcome.CANCELLED_PARTWAY if job.charged else Outcome.CANCELLED_WAITING


def why(job: Charged) -> str:
    """One or two short sentences."""
    match outcome_of(job):
        case Outcome.HELD:
            return "Set aside until the clip is there. Nothing is charged before."
        case Outcome.DELIVERED:
            return "The clip was delivered, at the price that was quoted."
        case Outcome.CANCELLED_UNSTARTED:
            return "Cancelled before it began. Nothing is charged."
        case Outcome.CANCELLED_PARTWAY:
            return (
                f"Cancelled after {job.charged_steps} of {job.steps} steps:"
                f" {job.charged_steps}/{job.steps} of {job.quoted}, rounded down."
            )
        case Outcome.CANCELLED_WAITING:
            return "Cancelled while it waited for a worker, or before a step counted. Nothing is charged."
        case Outcome.CANCELLED_IN_REVIEW:
            return "Cancelled while a person was looking at it. Nothing is charged."
        case Outcome.FAILED:
            return "It could not be made. Nothing is charged."
        case Outcome.BLOCKED:
            return "Stopped by the rules of this studio. Nothing is charged."
