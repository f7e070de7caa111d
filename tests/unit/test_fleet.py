"""The leader's picture of the workers: slots, prefetching, and who has fallen silent."""

from backend.contracts import AttemptPhase, AttemptStatus, Hardware, Heartbeat
from backend.domain.attempt import Slot
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


def status(attempt: str, step: int, steps: int = 100, step_s: float = 1.0) -> AttemptStatus:
    return AttemptStatus(
        attempt_id=attempt,
        job_id=f"job-{attempt}",
        fence=1,
        phase=AttemptPhase.DENOISING,
        step=step,
        steps=steps,
        step_s=step_s,
    )


def occupant(attempt: str, gpu_s: float = 100) -> Occupant:
    return Occupant(job_id=f"job-{attempt}", attempt_id=attempt, gpu_s=gpu_s)


def test_an_idle_worker_is_filled_before_the_next_place_of_a_busy_one() -> None:
    fleet = Fleet()
    fleet.saw(beat("busy"), 0)
    fleet.saw(beat("idle"), 0)
    fleet.occupy("busy", Slot.RUN, occupant("a", gpu_s=1))
    assert [(w.worker_id, slot) for w, slot in fleet.room(0)] == [("idle", Slot.RUN), ("busy", Slot.NEXT)]


def test_the_next_place_opens_only_near_the_end() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, occupant("a"))
    assert fleet.room(0) == []
    fleet.saw(beat("w1", status("a", 10)), 1)
    assert fleet.room(1) == []
    fleet.saw(beat("w1", status("a", 100 - int(PREFETCH_S) + 1)), 2)
    assert [slot for _worker, slot in fleet.room(2)] == [Slot.NEXT]


def test_what_was_next_runs_when_the_first_leaves() -> None:
    fleet = Fleet()
    fleet.saw(beat(), 0)
    fleet.occupy("w1", Slot.RUN, occupant("a"))
    fleet.occupy("w1", Slot.NEXT, occupant("b"))
    assert fleet.left("job-a") == ("w1", "a")
    (worker,) = fleet.live(0)
    assert worker.slots == {Slot.RUN: occupant("b")}
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
    assert fleet.left_s_of("job-b", 1.0) == 12
    assert fleet.left_s_of("job-b", 1.5) == 18
    assert fleet.left_s_of("job-unknown", 1.0) is None
