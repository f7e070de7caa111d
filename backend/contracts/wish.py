"""What the control plane wants of a worker right now: state, written whole each time."""

from enum import StrEnum

from pydantic import Field

from backend.contracts.message import Envelope


class Wish(StrEnum):
    """For one attempt. `stop`: end within a step, report nothing more; `preempt`: checkpoint, then report."""

    GO = "go"
    STOP = "stop"
    PREEMPT = "preempt"


class Wishes(Envelope):
    """An attempt that a worker runs and that is absent here is still `go`: absence proves nothing.

    `acknowledged` names attempts whose report was taken, or refused as stale: stop sending it.
    """

    worker_id: str
    attempts: dict[str, Wish] = Field(default_factory=dict)
    acknowledged: tuple[str, ...] = ()
    drain: bool = False
