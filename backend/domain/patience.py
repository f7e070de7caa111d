"""How long a live worker may take: to show progress, and to stop after it was asked. By its own pace."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

from backend.domain.pace import MOST_TIMES


class Stage(StrEnum):
    """What an attempt does, as far as it matters to how long that may take."""

    WAITING = "waiting"  # the worker has the order and is not at it
    LOADING = "loading"  # weights come into memory; the first step too, which may compile
    PREPARING = "preparing"  # text is encoded
    STEPPING = "stepping"
    FINISHING = "finishing"  # frames are decoded
    SENDING = "sending"  # the clip is made and goes to storage


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds that this worker takes with this recipe: a step, a load, what is around the steps."""

    step_s: float
    load_s: float
    around_s: float


STOP_MARGIN = timedelta(seconds=10)
"""For the wish to arrive, the checkpoint to reach storage and the report to come back."""

_STEPS = 10
_STEPS_TO_STOP = 3
_LOADS = 5
_AT_LEAST: MappingProxyType[Stage, timedelta] = MappingProxyType(
    {
        # Inputs and clips travel for minutes while storage restarts; the worker gives up by itself before this.
        Stage.WAITING: timedelta(minutes=15),
        Stage.SENDING: timedelta(minutes=15),
        Stage.LOADING: timedelta(minutes=5),
        Stage.PREPARING: timedelta(minutes=2),
        Stage.FINISHING: timedelta(minutes=2),
        Stage.STEPPING: timedelta(minutes=1),
    }
)
SHORTEST = min(_AT_LEAST.values())
"""No attempt is stalled before this."""


_ALWAYS_BELIEVED_S = 60.0


def believed_s(said_s: float, declared_s: float) -> float:
    """Seconds that a worker is believed to take for what its recipe declares: who says that its steps take days would
    keep its job for ever. A minute always, so that slow machines may be slow."""
    return min(said_s, max(_ALWAYS_BELIEVED_S, MOST_TIMES * declared_s))


def patience(stage: Stage, pace: Pace) -> timedelta:
    """How long nothing may change before the attempt counts as stalled."""
    expected_s = {
        Stage.LOADING: _LOADS * pace.load_s,
        Stage.PREPARING: _STEPS * pace.around_s,
        Stage.FINISHING: _STEPS * pace.around_s,
        Stage.STEPPING: _STEPS * pace.step_s,
    }.get(stage, 0.0)
    return max(_AT_LEAST[stage], timedelta(seconds=expected_s))


def stops_within(stage: Stage, pace: Pace) -> timedelta | None:
    """How long a wish to preempt holds; after that the attempt goes on. None: it is nearly done, and stays."""
    if stage in (Stage.FINISHING, Stage.SENDING):
        return None
    # Loading and encoding can't be cut short: the wish is obeyed at the next boundary.
    first_s = {Stage.LOADING: pace.load_s, Stage.PREPARING: pace.around_s}.get(stage, 0.0)
    return timedelta(seconds=first_s + _STEPS_TO_STOP * pace.step_s) + STOP_MARGIN
