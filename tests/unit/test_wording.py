"""How the pages say numbers and waits."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backend.domain.generation import InputVerdict, JobState
from backend.recipes import CATALOGUE
from backend.services.job_view import JobView, PlaceView
from backend.services.review_cases import CaseView as Case
from frontend import wording


@pytest.mark.parametrize(
    ("p50", "p90", "said"),
    [
        (None, None, ""),
        (3.2, 3.9, "about 4 s"),
        (40, 70, "about 40 to 70 s"),
        (40, 130, "about 40 s to 3 min"),
        (0.2, 0.2, "about 1 s"),
        (9000, 9100, "about 3 h"),
    ],
)
def test_a_wait_is_said_as_one_would(p50: float | None, p90: float | None, said: str) -> None:
    assert wording.wait(p50, p90) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (112, "112th"),
    ],
)
def test_places_in_the_queue(number: int, said: str) -> None:
    assert wording.ordinal(number) == said


def test_one_credit_is_singular() -> None:
    assert [wording.credits(n) for n in (1, 12, 1200)] == ["1 credit", "12 credits", "1,200 credits"]


def test_every_recipe_can_be_offered() -> None:
    for recipe in CATALOGUE.values():
        model = wording.model_view(recipe)
        assert model.knows
        assert model.steps_low <= model.steps_default <= model.steps_high
        assert all(6 <= side <= 18 for size in model.sizes for side in (size.frame_w, size.frame_h))


def _job(**changes: object) -> JobView:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    job = JobView(
        id="video_1",
        account_id="acct_1",
        kind="generate",
        parent_id=None,
        model="mini",
        prompt="a red circle",
        negative_prompt="",
        size="288x288",
        width=288,
        height=288,
        seconds="2",
        num_frames=17,
        fps=8,
        seed=1,
        num_inference_steps=16,
        guidance_scale=1.5,
        has_image=False,
        state=JobState.RUNNING,
        version=1,
        input_verdict=InputVerdict.ALLOW,
        phase="denoising",
        steps_done=0,
        progress=0,
        preview=None,
        quoted=4,
        charged=None,
        error_code=None,
        error_message=None,
        clause=None,
        created_at=now,
        started_at=now,
        ended_at=None,
        expires_at=None,
        released=False,
        favourite=False,
        rating=0,
        place=PlaceView(position=None, of=0, p50_s=12.0, p90_s=13.0, reason=""),
    )
    return replace(job, **changes)  # type: ignore[arg-type]  # test fields


def test_a_parameter_reads_as_elsewhere_and_keeps_what_programs_write() -> None:
    params = {param.name: param for param in wording.clip_view(_job(), with_parameters=True).params}
    assert (params["Model"].value, params["Model"].raw) == ("Mini", "mini")
    assert (params["Size"].value, params["Size"].raw) == ("288 × 288", "288x288")


def test_the_time_left_is_said_once_the_pace_is_known_however_many_steps_were_done_before() -> None:
    job = _job(steps_done=9)
    assert job.place is not None
    assert wording.job_view(job).detail == ""
    assert wording.job_view(replace(job, place=replace(job.place, paced=True))).detail == "About 12 s left"


def test_who_waits_is_told_when_it_is_ready_and_why_not_yet() -> None:
    place = PlaceView(position=2, of=14, p50_s=40, p90_s=70, reason="a worker is loading")
    view = wording.job_view(_job(state=JobState.QUEUED, place=place))
    assert (view.headline, view.detail) == ("2nd of 14", "Ready in about 40 to 70 s, a worker is loading")


def test_who_waits_for_a_worker_reads_what_that_means_and_who_runs_the_studio_what_to_do() -> None:
    place = PlaceView(position=None, of=1, p50_s=None, p90_s=None, reason="no live worker can run mini")
    job = _job(state=JobState.QUEUED, place=place)
    means = (
        "No machine that runs Mini is there just now. It starts when one is back; nothing is charged before."
    )
    view = wording.job_view(job)
    assert (view.headline, view.detail) == ("Waiting for a worker", means)
    todo = "No live worker can run Mini. Start one that can: zoetrope doctor on its host says what it lacks."
    assert wording.job_view(job, runs_it=True).detail == todo
    small = "no live worker has the 24 GB of memory that mini needs"
    job = replace(job, place=replace(place, reason=small))
    assert wording.job_view(job).detail == means
    assert wording.job_view(job, runs_it=True).detail.startswith(
        "No live worker has the 24 GB of memory that Mini"
    )


@pytest.mark.parametrize(
    ("state", "at_work", "in_review"),
    [
        (JobState.QUEUED, False, False),
        (JobState.ASSIGNED, True, False),
        (JobState.RUNNING, True, False),
        (JobState.MODERATING, True, False),
        (JobState.IN_REVIEW, False, True),
        (JobState.APPROVED, True, False),
    ],
)
def test_a_job_in_review_is_not_at_work(state: JobState, at_work: bool, in_review: bool) -> None:
    view = wording.job_view(_job(state=state))
    assert (view.at_work, view.in_review) == (at_work, in_review)


def test_a_request_that_a_moderator_holds_is_in_review_too() -> None:
    view = wording.job_view(_job(state=JobState.QUEUED, input_verdict=InputVerdict.REVIEW))
    assert (view.in_review, view.headline) == (True, "Waits for a moderator")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": JobState.BLOCKED, "clause": "weapons"}, "Not allowed here: Weapons, not charged"),
        (
            {"state": JobState.BLOCKED, "clause": "an_old_clause"},
            "Not allowed here: An old clause, not charged",
        ),
        ({"state": JobState.FAILED}, "Failed, not charged"),
        ({"state": JobState.CANCELLED, "charged": 2}, "Cancelled, 2 credits charged"),
        ({"state": JobState.RUNNING}, ""),
    ],
)
def test_why_a_job_ended_fits_one_line(changes: dict[str, object], said: str) -> None:
    assert wording.job_view(_job(**changes)).short == said


def test_unknown_words_are_named_and_known_ones_are_not() -> None:
    said = wording.unknown_words("mini", "a pink elephant dancing on a blue background")
    assert said == "Mini doesn’t know: pink, elephant, dancing. It leaves them out."
    assert wording.unknown_words("mini", "a red circle moving right") == ""
    assert wording.unknown_words("another-model", "a pink elephant") == ""
    many = wording.unknown_words("mini", "fog rain snow hail sleet sun moon cloud storm wind")
    assert many.endswith("cloud and 2 more. It leaves them out.")


def test_the_words_on_offer_are_words_the_model_reads() -> None:
    model = wording.model_view(CATALOGUE["mini"])
    assert {group.slot for group in model.words} == {"shape", "colour", "motion", "background", "size"}
    for group in model.words:
        for word in group.words:
            assert f"[{group.slot}" in model.sentence
            assert wording.unknown_words("mini", word.value) == ""


def test_a_finding_that_each_artifact_repeats_is_said_once_with_its_picture_and_threshold() -> None:
    finding = {"clause": "weapons", "score": 0.934, "threshold": 0.6, "surface": "video", "at_s": 1.25}
    still = {
        "clause": "classifier_error",
        "score": 1.0,
        "threshold": 1.0,
        "surface": "thumbnail",
        "at_s": None,
    }
    ruling: dict[str, object] = {"findings": [finding, still]}
    case = Case(
        id="case_1",
        job_id="video_1",
        stage="output",
        state="open",
        clause="weapons",
        prompt="a knife",
        negative_prompt="",
        model="mini",
        opened_at=datetime(2026, 1, 1, tzinfo=UTC),
        claimed_by=None,
        claim_expires_at=None,
        decision=None,
        decided_by=None,
        effective_at=None,
        note="",
        findings=(ruling, ruling, ruling),
        artifact_kinds=("thumbnail", "video"),
        upload_ids=(),
    )
    scores = wording.case_view(case, with_evidence=True).scores
    assert [(s.what, s.where, s.at_s, s.percent, s.threshold, s.over) for s in scores] == [
        ("Weapons", "Clip at 1.25 s", "1.250", 93, 60, True),
        ("Could not be judged", "Thumbnail", "", 100, 100, True),
    ]
    assert wording.case_view(case).poster_url == ""


def test_what_stopping_costs_is_what_the_use_case_says() -> None:
    view = wording.job_view(_job(steps_done=12, stop_steps=4, stop_cost=1))
    assert view.stop_cost.startswith("4 of 16 steps are done. You pay 1 of 4 credits for them.")
    assert view.stop_steps == 4
    assert wording.job_view(_job(steps_done=12)).stop_cost == ""


def test_who_waits_behind_others_is_told_so_in_one_sentence() -> None:
    place = PlaceView(position=2, of=2, p50_s=10, p90_s=30, reason="after 1 of yours")
    view = wording.job_view(_job(state=JobState.QUEUED, place=place))
    assert view.detail == "Ready in about 10 to 30 s, after 1 of yours"


def test_what_has_done_no_step_is_starting() -> None:
    assert wording.job_view(_job(steps_done=0)).headline == "Starting"
    assert wording.job_view(_job(steps_done=1)).headline.startswith("Step 1 of ")


@pytest.mark.parametrize(
    ("phase", "can_cancel"),
    [("denoising", True), ("decoding", True), ("uploading", False), ("reported", False)],
)
def test_stopping_is_not_offered_once_the_clip_is_rendered(phase: str, can_cancel: bool) -> None:
    assert wording.job_view(_job(phase=phase, steps_done=3)).can_cancel is can_cancel
