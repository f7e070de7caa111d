"""Whose failure it is, and what follows for the job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contracts import FailureCause
from backend.domain.attempt import Cause
from backend.domain.retry import (
    MAX_FAILED_ATTEMPTS,
    Blame,
    Failure,
    Memory,
    Outlook,
    blame_of,
    may_share_batch,
    outlook,
)

NO_HELP = Memory(larger_worker=False, switch_left=False, tries=1)


def failed(*causes_and_workers: tuple[str, str], sound: bool = True, memory: Memory = NO_HELP) -> Outlook:
    failures = [Failure(cause=cause, worker_id=worker) for cause, worker in causes_and_workers]
    return outlook(failures, worker_is_sound=sound, memory=memory)


@pytest.mark.parametrize("cause", [Cause.BAD_ORDER, Cause.BAD_INPUT])
def test_what_no_worker_can_mend_fails_at_once(cause: Cause) -> None:
    assert failed((cause, "w1")) is Outlook.JOB_FAILS


def test_a_picture_that_is_none_is_tried_twice() -> None:
    assert failed((Cause.NOT_A_NUMBER, "w1")) is Outlook.AGAIN
    assert failed((Cause.NOT_A_NUMBER, "w1"), (Cause.NOT_A_NUMBER, "w1")) is Outlook.JOB_FAILS


def test_the_same_engine_error_on_two_workers_is_the_jobs_own() -> None:
    assert failed((Cause.ENGINE_ERROR, "w1"), sound=False) is Outlook.AGAIN
    twice = (Cause.ENGINE_ERROR, "w1"), (Cause.ENGINE_ERROR, "w2")
    assert failed(*twice, sound=False) is Outlook.JOB_FAILS


def test_engine_errors_on_one_worker_are_the_jobs_own_only_while_its_other_jobs_go_well() -> None:
    thrice = [(Cause.ENGINE_ERROR, "w1")] * 3
    assert failed(*thrice[:2], sound=True) is Outlook.AGAIN
    assert failed(*thrice, sound=True) is Outlook.JOB_FAILS
    assert failed(*thrice, sound=False) is Outlook.AGAIN


def test_different_causes_on_different_workers_say_nothing_of_the_job() -> None:
    assert failed((Cause.STORAGE_ERROR, "w1"), (Cause.ENGINE_ERROR, "w2")) is Outlook.AGAIN
    assert failed((Cause.STALLED, "w1"), (Cause.STALLED, "w2"), (Cause.STALLED, "w3")) is Outlook.AGAIN


def test_a_job_that_kills_worker_after_worker_ends_and_is_not_called_guilty() -> None:
    killed = [(Cause.LEASE_EXPIRED, f"w{n}") for n in range(MAX_FAILED_ATTEMPTS)]
    assert failed(*killed[:-1]) is Outlook.AGAIN
    assert failed(*killed) is Outlook.WORKERS_FAIL


@pytest.mark.parametrize("cause", [Cause.PREEMPTED, Cause.HANDED_BACK, Cause.CANCELLED])
@given(times=st.integers(1, 100))
def test_what_is_nobodys_fault_costs_a_job_nothing(cause: Cause, times: int) -> None:
    assert failed(*[(cause, "w1")] * times) is Outlook.AGAIN
    assert failed(*[(cause, "w1")] * times, (Cause.ENGINE_ERROR, "w1")) is Outlook.AGAIN


def test_a_job_that_may_have_broken_something_runs_alone_from_then_on() -> None:
    assert may_share_batch([])
    assert may_share_batch([Cause.PREEMPTED, Cause.HANDED_BACK, Cause.NOT_TAKEN, Cause.STORAGE_ERROR])
    for cause in (Cause.ENGINE_ERROR, Cause.NOT_A_NUMBER, Cause.OUT_OF_MEMORY):
        assert not may_share_batch([cause])
    # It may have killed or stopped its worker: it must not do so to others.
    for cause in (Cause.LEASE_EXPIRED, Cause.WORKER_LOST, Cause.STALLED):
        assert not may_share_batch([Cause.PREEMPTED, cause])


def test_out_of_memory_goes_to_a_larger_worker_then_saves_memory_then_gives_up() -> None:
    oom = (Cause.OUT_OF_MEMORY, "w1")
    larger = Memory(larger_worker=True, switch_left=True, tries=1)
    assert failed(oom, memory=larger) is Outlook.MORE_MEMORY
    switch = Memory(larger_worker=False, switch_left=True, tries=1)
    assert failed(oom, memory=switch) is Outlook.LESS_HUNGRY
    assert failed(oom, memory=NO_HELP) is Outlook.AGAIN
    again = Memory(larger_worker=False, switch_left=False, tries=2)
    assert failed(oom, oom, memory=again) is Outlook.JOB_FAILS


def test_an_unknown_cause_is_the_workers() -> None:
    assert blame_of("something new") is Blame.WORKER


def test_every_cause_that_a_worker_reports_is_known() -> None:
    assert {cause.value for cause in FailureCause} <= {cause.value for cause in Cause}


@given(
    st.lists(
        st.tuples(st.sampled_from([c.value for c in Cause]), st.sampled_from(["w1", "w2", "w3"])),
        min_size=1,
        max_size=60,
    ),
    st.booleans(),
    st.builds(Memory, larger_worker=st.booleans(), switch_left=st.booleans(), tries=st.integers(1, 3)),
)
def test_no_history_is_retried_for_ever(history: list[tuple[str, str]], sound: bool, memory: Memory) -> None:
    counted = [each for each in history if blame_of(each[0]) is not Blame.NOBODY]
    follows = failed(*history, sound=sound, memory=memory)
    if blame_of(history[-1][0]) is Blame.NOBODY:
        assert follows is Outlook.AGAIN
    elif len(counted) >= MAX_FAILED_ATTEMPTS:
        assert follows in (Outlook.JOB_FAILS, Outlook.WORKERS_FAIL)
