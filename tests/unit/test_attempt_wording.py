"""What a creator reads about the attempts at a clip."""

from datetime import UTC, datetime

import pytest

from backend.domain.attempt import AttemptState, Cause
from backend.services.list_attempts import AttemptView
from frontend.attempt_wording import attempts_param

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def attempt(
    state: AttemptState, cause: Cause | None = None, *, resumed: int = 0, done: int = 0, saves: bool = False
) -> AttemptView:
    return AttemptView(
        number=1,
        state=state,
        cause=cause,
        ordered_at=NOW,
        started_at=None if state is AttemptState.ORDERED else NOW,
        ended_at=None,
        resumed_from_step=resumed,
        steps_done=done,
        exact=True,
        moved=False,
        saves_memory=saves,
    )


def said(*attempts: AttemptView) -> str:
    (line,) = attempts_param(attempts)
    return line.value


def test_a_clip_made_at_the_first_go_says_nothing_of_it() -> None:
    assert attempts_param([attempt(AttemptState.DONE)]) == []
    assert attempts_param([]) == []


def test_a_preempted_and_a_lost_attempt_are_told_in_a_line() -> None:
    assert said(
        attempt(AttemptState.PREEMPTED, Cause.PREEMPTED, done=10),
        attempt(AttemptState.LOST, Cause.STALLED, resumed=10, done=14),
        attempt(AttemptState.DONE, resumed=12, done=16),
    ) == (
        "The 1st: paused at step 10 so that another clip could go before. "
        "The 2nd: went on from step 10, its worker stood still at step 14. "
        "The 3rd: went on from step 12, made."
    )


def test_a_clip_that_had_to_begin_again_says_so() -> None:
    again = said(
        attempt(AttemptState.LOST, Cause.LEASE_EXPIRED),
        attempt(AttemptState.RUNNING, done=3, saves=True),
    )
    assert again == (
        "The 1st: its worker fell silent before its first step. "
        "The 2nd: began again, with less memory, at work now."
    )


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_its_words(cause: Cause) -> None:
    told = said(attempt(AttemptState.FAILED, cause, done=2), attempt(AttemptState.ORDERED))
    assert cause.value.replace("_", " ") not in told or cause in (Cause.CANCELLED,)
    assert told.endswith("about to begin.")
