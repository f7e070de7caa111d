"""The leader's picture of the workers: slots, prefetching, and who has fallen silent."""

import pytest

from backend.contracts import AttemptPhase, AttemptStatus, Hardware, Heartbeat
from backend.domain.attempt import Slot
from backend.domain.pace import LATE, Made, Paces
from backend.domain.quarantine import Takes
from jobs.fleet import PREFETCH_S, Fleet, Occupant


def beat(worker: str = "w1", *statuses: AttemptStatus, draining: bool = False) -> Heartbeat:
    return Heartbeat(
        worker_id=worker,
        boot_id="b",
        seq=1,
        version="0",
        hardware=Hardware(hardware_class="cpu", device="cpu", memory_gb=8),
        recipes=("mini",),
        attempts=statuses,
        draining=draining,
    )


def status(
    attempt: str, step: int, steps: int = 100, step_s: float | None = 1.0, resumed: int = 0
) -> AttemptStatus:
    return AttemptStatus(
        attempt_id=attempt,
        job_id=f"job-{attempt}",
        fence=1,
        phase=AttemptPhase.DENOISING,
        step=step,
        steps=steps,
        step_s=step_s,
        resumed_from_step=resumed,
    )


def occupant(attempt: str, gpu_s: float = 100) -> Occupant:
    return Occupant(job_id=f"job-{attempt}", attempt_id=attempt, recipe="mini", gpu_s=gpu_s)


def test_a_worker_counts_as_idle_only_near_the_end_of_what_it_runs() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, occupant("a"))
    (far,) = fleet.views(0)
    assert (far.free, far.busy_s) == (True, 100)
    fleet.saw(beat("w1", status("a", 100 - int(PREFETCH_S) + 1)), 2)
    (near,) = fleet.views(2)
    assert (near.free, near.busy_s) == (True, 0)
    assert fleet.slot_for("w1") is Slot.NEXT
    fleet.occupy("w1", Slot.NEXT, occupant("b"))
    (full,) = fleet.views(2)
    assert not full.free
    assert fleet.slot_for("w1") is None


def test_a_worker_on_probation_gets_one_job_and_a_resting_one_none() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.may_take("w1", Takes.ONE)
    fleet.occupy("w1", Slot.RUN, occupant("a", gpu_s=1))
    assert fleet.slot_for("w1") is None
    fleet.may_take("w1", Takes.NOTHING)
    assert fleet.views(0) == []


def test_how_long_a_worker_kept_to_a_model_is_counted() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    for attempt in ("a", "b"):
        fleet.occupy("w1", Slot.RUN, occupant(attempt, gpu_s=30))
        fleet.left(f"job-{attempt}")
    assert fleet.views(0)[0].kept_s == 60


def test_what_was_next_runs_when_the_first_leaves() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, occupant("a"))
    fleet.occupy("w1", Slot.NEXT, occupant("b"))
    assert fleet.left("job-a") == ("w1", "a")
    (worker,) = fleet.live(0)
    assert worker.slots == {Slot.RUN: [occupant("b")]}
    assert fleet.holds("job-b") == "b"


def test_a_worker_that_drains_or_is_silent_for_a_lease_takes_nothing() -> None:
    fleet = Fleet()
    fleet.saw(beat("draining", draining=True), 0)
    fleet.saw(beat("silent"), 0)
    assert [w.worker_id for w in fleet.live(5)] == ["silent"]
    assert fleet.live(11) == []


def test_time_left_counts_what_runs_before() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, occupant("a", gpu_s=8))
    fleet.occupy("w1", Slot.NEXT, occupant("b", gpu_s=4))
    assert fleet.left_s_of("job-b") == (12, 12 * LATE)
    assert fleet.left_s_of("job-unknown") is None


def test_what_is_left_after_a_resume_counts_the_steps_before_it_once_and_goes_down_evenly() -> None:
    """The queue's work of a job with a checkpoint is what the checkpoint leaves: 50 of 100 steps, a second each."""
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, occupant("a", gpu_s=50))
    left = []
    # The first step pays for loading; it says so with the half minute it took.
    for step, step_s in ((0, None), (51, 30.0), (52, 1.0), (53, 1.0), (54, 1.0)):
        fleet.saw(beat("w1", status("a", step, step_s=step_s, resumed=50 if step else 0)), 1)
        left.append((fleet.left_s_of("job-a") or (0.0, 0.0))[0])
    assert left == pytest.approx([50, 49, 48, 47.2, 46.2])


def test_a_pace_is_an_attempts_own_also_when_it_goes_on_where_another_stopped() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, occupant("a", gpu_s=50))
    fleet.saw(beat("w1", status("a", 52, resumed=50)), 1)
    assert not fleet.paced("job-a")
    fleet.saw(beat("w1", status("a", 53, resumed=50)), 2)
    assert fleet.paced("job-a")


def test_time_left_counts_loading_until_the_model_is_there() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, Occupant(job_id="j", attempt_id="a", recipe="mini", gpu_s=8, load_s=20))
    assert fleet.left_s_of("j") == (28, 28 * LATE)
    fleet.saw(beat("w1", status("a", 10)), 1)
    assert fleet.left_s_of("j") == (pytest.approx(90.2), pytest.approx(90.2 * LATE))


def test_time_left_is_at_the_measured_pace_and_counts_what_follows_the_steps() -> None:
    fleet = Fleet()
    fleet.paces = Paces(
        [
            Made(recipe="mini", gpu_s=11, base_gpu_s=1, step_gpu_s=0, steps_s=5, around_s=4),
        ]
        * 20
    )
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, occupant("a", gpu_s=21))
    assert fleet.left_s_of("job-a") == (pytest.approx(14), pytest.approx(14))
    assert fleet.views(0)[0].busy_s == pytest.approx(14)
    fleet.saw(beat("w1", status("a", 90)), 1)
    assert fleet.left_s_of("job-a") == (pytest.approx(14.2), pytest.approx(14.2))


def _steps_of_a_tenth_of_a_second(attempt: str) -> Occupant:
    return Occupant(
        job_id=f"job-{attempt}", attempt_id=attempt, recipe="mini", gpu_s=40, step_gpu_s=0.1, load_s=0
    )


def test_a_few_slow_first_steps_hardly_move_what_is_left() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, _steps_of_a_tenth_of_a_second("a"))
    assert fleet.left_s_of("job-a") == (40, 40 * LATE)
    fleet.saw(beat("w1", status("a", 4, 400, step_s=1.2)), 1)
    assert (fleet.left_s_of("job-a") or (0, 0))[0] < 52
    assert fleet.views(1)[0].busy_s < 52


def test_after_half_of_the_steps_a_runs_own_pace_says_what_is_left() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, _steps_of_a_tenth_of_a_second("a"))
    fleet.saw(beat("w1", status("a", 200, 400, step_s=1.2)), 1)
    assert (fleet.left_s_of("job-a") or (0, 0))[0] == pytest.approx(240, abs=1)


def test_a_worker_that_says_its_steps_take_for_ever_puts_nobody_off_for_ever() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, _steps_of_a_tenth_of_a_second("a"))
    fleet.saw(beat("w1", status("a", 300, 400, step_s=1e7)), 1)
    assert fleet.views(1)[0].busy_s <= 20 * 10 + 1


def test_steps_of_a_pass_are_expected_to_take_all_its_members_time() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    for attempt in ("a", "b"):
        fleet.occupy("w1", Slot.RUN, _steps_of_a_tenth_of_a_second(attempt))
    fleet.saw(beat("w1", status("a", 4, 400, step_s=0.2), status("b", 4, 400, step_s=0.2)), 1)
    assert (fleet.left_s_of("job-a") or (0, 0))[0] == pytest.approx(396 * 0.2, abs=1)
