"""What the front page shows large."""

from dataclasses import replace

from frontend.states.jobs import NO_JOB, pick_for_stage
from frontend.views import ClipView, JobView


def _job(job_id: str, **changes: object) -> JobView:
    return replace(NO_JOB, id=job_id, **changes)  # type: ignore[arg-type]  # test fields


WAITING, RUNNING = _job("waiting"), _job("running", at_work=True)


def test_a_job_at_work_goes_before_one_that_waits() -> None:
    assert pick_for_stage("", [WAITING, RUNNING], []) == "running"
    assert pick_for_stage("waiting", [WAITING, RUNNING], []) == "running"


def test_what_is_shown_stays_while_nothing_has_a_better_claim() -> None:
    other = _job("other", at_work=True)
    assert pick_for_stage("running", [other, RUNNING], []) == "running"
    assert pick_for_stage("waiting", [_job("first"), WAITING], []) == "waiting"


def test_the_clip_that_a_job_became_stays_in_its_place_until_another_job_comes() -> None:
    clip = ClipView(id="made")
    assert pick_for_stage("made", [], [clip]) == "made"
    assert pick_for_stage("made", [WAITING], [clip]) == "waiting"


def test_an_old_clip_is_not_put_there() -> None:
    assert pick_for_stage("", [], [ClipView(id="old")]) == ""
    assert pick_for_stage("deleted", [], [ClipView(id="old")]) == ""


def test_what_a_moderator_has_and_what_ended_is_not_shown_large() -> None:
    assert pick_for_stage("", [_job("held", in_review=True), _job("ended", ended=True)], []) == ""
