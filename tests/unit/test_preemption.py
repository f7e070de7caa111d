"""Whom the leader stops for a job that can't wait, and whom never."""

import pytest

from backend.domain.preemption import LEAST_LEFT_S, LOOK_AHEAD_S, MOST_STOPS, Run, choose_victim
from backend.domain.scheduling import FairQueue, QueuedJob, WorkerView


def job(tier: str, name: str = "j", recipe: str = "mini") -> QueuedJob:
    return QueuedJob(
        job_id=name,
        account_id=name,
        tier=tier,
        recipe=recipe,
        memory_gb=4,
        gpu_s=100,
        submitted_s=0,
        concurrency_limit=1,
    )


class Standing(FairQueue):
    """A queue of which only two things are asked: what can't wait, and how far each tier is over its share."""

    def __init__(self, urgent: QueuedJob | None, leads: dict[str, float]) -> None:
        super().__init__({})
        self._urgent, self._leads = urgent, leads
        self.asked: list[float] = []

    def most_urgent(self, now_s: float, within_s: float) -> QueuedJob | None:
        self.asked.append(within_s)
        return self._urgent

    def lead_gpu_s(self, tier: str) -> float:
        return self._leads.get(tier, 0.0)


def run(
    tier: str,
    name: str = "r",
    *,
    left_s: float = 600,
    stop_s: float = 2,
    stopped: int = 0,
    memory_gb: float = 8,
) -> Run:
    worker = WorkerView(worker_id=name, recipes=frozenset({"mini"}), memory_gb=memory_gb, free=False)
    return Run(worker=worker, job=job(tier, name), left_s=left_s, stop_s=stop_s, stopped=stopped)


STUDIO = job("studio", "urgent")
LEADS = {"studio": 5.0, "pro": 50.0, "free": 20.0}


def victim(*runs: Run, urgent: QueuedJob | None = STUDIO, leads: dict[str, float] = LEADS) -> str | None:
    found = choose_victim(Standing(urgent, leads), runs, 0)
    return None if found is None else found.job.job_id


def test_nobody_is_stopped_while_nothing_passes_its_ceiling_within_a_minute() -> None:
    queue = Standing(None, LEADS)
    assert choose_victim(queue, [run("pro")], 0) is None
    assert queue.asked == [LOOK_AHEAD_S]


def test_the_tier_furthest_over_its_share_gives_way_and_of_it_the_job_that_stops_cheapest() -> None:
    runs = [run("free", "a", stop_s=1), run("pro", "b", stop_s=3), run("pro", "c", stop_s=2)]
    assert victim(*runs) == "c"
    assert victim(*runs[:1]) == "a"


@pytest.mark.parametrize("lead", [5.0, 4.0])
def test_a_tier_that_is_no_further_over_its_share_than_the_waiting_one_is_left_alone(lead: float) -> None:
    assert victim(run("pro"), leads={"studio": 5.0, "pro": lead}) is None
    assert victim(run("pro"), leads={"studio": 5.0, "pro": 5.1}) == "r"


def test_its_own_tier_is_not_stopped_for_it() -> None:
    assert victim(run("studio"), leads={"studio": 0.0}) is None


def test_a_job_is_stopped_so_often_and_no_more() -> None:
    assert victim(run("pro", stopped=MOST_STOPS - 1)) == "r"
    assert victim(run("pro", stopped=MOST_STOPS)) is None


def test_nobody_is_stopped_where_a_worker_that_can_run_it_is_nearly_done() -> None:
    other = run("pro", "other")
    assert victim(run("free", "done soon", left_s=LEAST_LEFT_S), other) is None
    assert victim(run("free", "later", left_s=LEAST_LEFT_S + 1), other) == "other"
    too_small = run("free", "done soon", left_s=1, memory_gb=2)
    assert victim(too_small, other) == "other"


def test_what_ends_about_as_soon_as_it_could_be_stopped_goes_on() -> None:
    assert victim(run("pro", left_s=90, stop_s=30)) is None
    assert victim(run("pro", left_s=91, stop_s=30)) == "r"


def test_a_worker_that_could_not_run_the_urgent_job_is_not_cleared_for_it() -> None:
    assert victim(run("pro", memory_gb=2)) is None
    assert victim(run("pro"), urgent=job("studio", "urgent", recipe="other")) is None
