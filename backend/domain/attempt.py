"""One try at a job on one worker, under a lease and a fencing token: where it is, and why it ended."""

from datetime import timedelta
from enum import StrEnum

LEASE = timedelta(seconds=10)
"""A worker that was silent for this long is taken to be gone. Heartbeats come every second."""


class AttemptState(StrEnum):
    """Where an attempt is. All but the first two are ends."""

    ORDERED = (
        "ordered"  # the order was sent. Out: the worker's first heartbeat with it, its report, the reaper
    )
    RUNNING = "running"  # the worker renders. Out: its report, the reaper, cancel
    DONE = "done"  # it brought a clip. Out: moderate, where that is not what was ordered
    FAILED = "failed"
    LOST = "lost"  # its worker fell silent, forgot it, or made no progress
    HANDED_BACK = "handed_back"  # the worker stopped at a step boundary, in order
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"


LIVE = frozenset({AttemptState.ORDERED, AttemptState.RUNNING})


class Cause(StrEnum):
    """Why an attempt ended without a clip. Whose fault that is, `domain/retry.py` says."""

    BAD_ORDER = "bad_order"  # the worker can't render such settings
    BAD_INPUT = "bad_input"  # an image of the creator's can't be read
    NOT_A_NUMBER = "not_a_number"  # the model gave no picture
    ENGINE_ERROR = "engine_error"  # anything else that the engine raised
    OUT_OF_MEMORY = "out_of_memory"  # the clip is too large for the worker, or the worker too full
    MODEL_UNAVAILABLE = "model_unavailable"  # the worker lacks the weights, or they can't be loaded
    STORAGE_ERROR = "storage_error"  # the worker could not read or write its objects
    BAD_CLIP = "bad_clip"  # the files that it brought are not what was ordered, or not what it reported
    NOT_TAKEN = "not_taken"  # the worker never named the order in a heartbeat
    LEASE_EXPIRED = "lease_expired"  # the worker fell silent
    WORKER_LOST = "worker_lost"  # the worker was started again and knew nothing of it
    STALLED = "stalled"  # the worker was heard, and made no progress
    HANDED_BACK = "handed_back"  # the worker was shut down in order
    PREEMPTED = "preempted"  # another job went before
    CANCELLED = "cancelled"  # its owner stopped it


class Slot(StrEnum):
    """A worker's two places: what it runs, and what comes next."""

    RUN = "run"
    NEXT = "next"
