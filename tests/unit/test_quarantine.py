"""When a worker rests, for how long, and how it comes back."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backend.domain.attempt import Cause
from backend.domain.quarantine import (
    FIRST_REST,
    LONGEST_REST,
    LONGEST_REST_OF_THE_LAST,
    STALL_REST,
    SUSPECT_JOBS,
    Standing,
    Takes,
    Trial,
    is_sound,
    judge,
    takes,
)

START = datetime(2026, 11, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def bad(job: str, minutes: float, cause: Cause = Cause.ENGINE_ERROR, boot: str = "b1") -> Trial:
    return Trial(job_id=job, good=False, cause=cause, boot_id=boot, ended_at=at(minutes))


def good(job: str, minutes: float) -> Trial:
    return Trial(job_id=job, good=True, ended_at=at(minutes))


def standing(*trials: Trial, last: bool = False, boot: str = "b1") -> Standing:
    return judge(sorted(trials, key=lambda t: t.ended_at, reverse=True), boot_id=boot, last=last)


def test_failures_of_different_jobs_in_a_row_send_a_worker_to_rest_and_it_says_why() -> None:
    assert standing(bad("a", 1), bad("b", 2)).rests_until is None
    rests = standing(bad("a", 1), bad("b", 2), bad("c", 3, Cause.STORAGE_ERROR))
    assert rests.rests_until == at(3) + FIRST_REST
    assert rests.reason == "3 attempts at 3 jobs failed in a row: engine_error, storage_error."


def test_one_job_that_fails_again_and_again_says_nothing_of_its_worker() -> None:
    assert standing(*(bad("a", n) for n in range(10))).rests_until is None


def test_a_clip_in_between_clears_the_worker() -> None:
    assert standing(bad("a", 1), bad("b", 2), good("c", 3), bad("d", 4)).rests_until is None


def test_a_failed_probation_doubles_the_rest_up_to_a_bound() -> None:
    failures = [bad("a", 1), bad("b", 2), bad("c", 3)]
    for number in range(12):
        rest = standing(*failures).rests_until
        assert rest is not None
        assert rest - failures[-1].ended_at == min(FIRST_REST * 2**number, LONGEST_REST)
        failures.append(bad(f"probe{number}", 100 + number))


def test_a_probation_that_goes_well_ends_the_quarantine() -> None:
    trials = [bad("a", 1), bad("b", 2), bad("c", 3), bad("d", 4), good("e", 5)]
    assert standing(*trials) == Standing()


def test_the_last_worker_of_a_model_rests_only_briefly() -> None:
    failures = [bad(f"job{n}", n) for n in range(20)]
    rest = standing(*failures, last=True).rests_until
    assert rest == at(19) + LONGEST_REST_OF_THE_LAST


def test_a_worker_that_stalled_gets_nothing_until_it_was_started_again() -> None:
    stalled = bad("a", 1, Cause.STALLED)
    assert standing(stalled).rests_until == at(1) + STALL_REST
    assert standing(stalled, boot="b2").rests_until is None


def test_one_job_is_given_after_the_rest_and_none_before() -> None:
    assert takes(None, now=at(5)) is Takes.ALL
    assert takes(at(6), now=at(5)) is Takes.NOTHING
    assert takes(at(5), now=at(5)) is Takes.ONE


def test_a_worker_is_sound_while_its_last_other_job_went_well() -> None:
    newest_first = [bad("a", 3), good("b", 2), bad("c", 1)]
    assert is_sound(newest_first, job_id="a")
    assert not is_sound([bad("a", 3), bad("c", 2), good("b", 1)], job_id="a")
    assert not is_sound([bad("a", 3)], job_id="a")


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.sampled_from(list(Cause))), max_size=40),
    st.booleans(),
)
def test_every_rest_ends_and_begins_with_suspicion(
    history: list[tuple[str, bool, Cause]], last: bool
) -> None:
    trials = [
        Trial(job_id=job, good=ok, cause=cause, boot_id="b1", ended_at=at(n))
        for n, (job, ok, cause) in enumerate(history)
    ]
    judged = standing(*trials, last=last)
    if judged.rests_until is None:
        return
    newest = trials[-1]
    assert not newest.good
    assert judged.reason
    longest = max(STALL_REST, LONGEST_REST_OF_THE_LAST if last else LONGEST_REST)
    assert newest.ended_at < judged.rests_until <= newest.ended_at + longest
    streak: set[str] = set()
    for trial in reversed(trials):
        if trial.good:
            break
        streak.add(trial.job_id)
    assert len(streak) >= SUSPECT_JOBS or newest.cause == Cause.STALLED
