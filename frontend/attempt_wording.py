"""How the studio tells a creator what happened to a clip on its way, in a line. Pure."""

from collections.abc import Sequence
from types import MappingProxyType

from backend.domain.attempt import LIVE, AttemptState, Cause
from backend.services.list_attempts import AttemptView
from frontend.views import ParamView
from frontend.wording import ordinal

_ENDED: MappingProxyType[Cause, str] = MappingProxyType(
    {
        Cause.PREEMPTED: "paused {at} so that another clip could go before",
        Cause.HANDED_BACK: "its worker was shut down {at}",
        Cause.LEASE_EXPIRED: "its worker fell silent {at}",
        Cause.WORKER_LOST: "its worker was started again {at}",
        Cause.STALLED: "its worker stood still {at}",
        Cause.NOT_TAKEN: "its worker never took it",
        Cause.OUT_OF_MEMORY: "it did not fit its worker's memory",
        Cause.ENGINE_ERROR: "the model failed {at}",
        Cause.NOT_A_NUMBER: "the model gave no picture",
        Cause.MODEL_UNAVAILABLE: "its worker could not load the model",
        Cause.STORAGE_ERROR: "its files could not be kept",
        Cause.BAD_CLIP: "its files were not what was asked for",
        Cause.BAD_ORDER: "the model can't render these settings",
        Cause.BAD_INPUT: "the image could not be read",
        Cause.CANCELLED: "cancelled {at}",
    }
)


def attempts_param(attempts: Sequence[AttemptView]) -> list[ParamView]:
    """One line among a clip's parameters; none for a clip that was made at the first go."""
    if len(attempts) < 2:
        return []
    said = (
        f"The {ordinal(number)}: {_said(attempt, first=number == 1)}."
        for number, attempt in enumerate(attempts, 1)
    )
    return [ParamView(name="Attempts", value=" ".join(said), long=True)]


def _said(attempt: AttemptView, *, first: bool) -> str:
    began = "" if first else "began again, "
    if attempt.resumed_from_step:
        began = f"went on from step {attempt.resumed_from_step}, "
    elif attempt.started_at is None:
        began = ""
    if attempt.saves_memory:
        began += "with less memory, "
    return began + _end(attempt)


def _end(attempt: AttemptView) -> str:
    if attempt.state is AttemptState.DONE:
        return "made"
    if attempt.state in LIVE or attempt.cause is None:
        return "at work now" if attempt.started_at else "about to begin"
    at = f"at step {attempt.steps_done}" if attempt.steps_done else "before its first step"
    return _ENDED[attempt.cause].format(at=at)
