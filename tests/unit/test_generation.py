"""The job's life cycle: which ends there are, and that nothing leaves them."""

import pytest

from backend.domain.generation import (
    ENDS,
    TRANSITIONS,
    IllegalTransition,
    JobEvent,
    JobState,
    Snapshot,
    advance,
    can,
)


def test_an_end_never_changes() -> None:
    for end in ENDS:
        for event in JobEvent:
            with pytest.raises(IllegalTransition):
                advance(Snapshot(state=end, version=3), event)


def test_every_state_is_reached_and_every_other_than_an_end_is_left() -> None:
    reached = {JobState.QUEUED, *TRANSITIONS.values()}
    left = {state for state, _event in TRANSITIONS}
    assert reached == set(JobState)
    assert left == set(JobState) - ENDS


def test_each_step_raises_the_version_by_one() -> None:
    after = advance(Snapshot(state=JobState.QUEUED, version=7), JobEvent.DISPATCHED)
    assert after == Snapshot(state=JobState.ASSIGNED, version=8)


def test_nothing_is_completed_but_by_publishing_what_was_approved() -> None:
    ways = [key for key, target in TRANSITIONS.items() if target is JobState.COMPLETED]
    assert ways == [(JobState.APPROVED, JobEvent.PUBLISHED)]


def test_a_clip_is_approved_only_after_moderation_or_review() -> None:
    ways = {state for (state, _event), target in TRANSITIONS.items() if target is JobState.APPROVED}
    assert ways == {JobState.MODERATING, JobState.IN_REVIEW}


def test_a_rendered_job_is_cancelled_only_while_a_person_looks_at_it() -> None:
    assert can(JobState.IN_REVIEW, JobEvent.CANCELLED)
    assert not can(JobState.MODERATING, JobEvent.CANCELLED)
    assert not can(JobState.APPROVED, JobEvent.CANCELLED)
