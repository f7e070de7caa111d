"""The leader's picture of the workers: who lives, what is loaded, what runs in which slot, and for how long still."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from backend.contracts import AttemptPhase, AttemptStatus, Heartbeat
from backend.domain.attempt import LEASE, Slot
from backend.domain.pace import Pace, Paces, step_seconds
from backend.domain.quarantine import Takes
from backend.domain.scheduling import WorkerView

PREFETCH_S = 3.0
"""A worker counts as idle when its current job is expected to end within this, so that none waits for its order."""


PACED_STEPS = 3
"""Steps of an attempt's own before they say how fast it goes: the first ones pay for loading and compiling."""


@dataclass
class Occupant:
    """An attempt in a slot, alone or with others of its batch.

    `gpu_s`: the work it has from where it began or went on, and `done` the share of that; `own_steps` are counted from
    there too. `steps_left` to the clip's end, at `step_s` each.
    """

    job_id: str
    attempt_id: str
    recipe: str
    gpu_s: float
    done: float = 0.0
    own_steps: int = 0
    steps_left: int = 0
    step_s: float | None = None
    step_gpu_s: float = 0.0
    load_s: float = 0.0

    @property
    def paced(self) -> bool:
        """Whether its own steps say how fast it goes."""
        return self.step_s is not None and self.own_steps >= PACED_STEPS

    def left_s(self, pace: Pace, together: int = 1) -> float:
        """Expected seconds of its own on the GPU: by its own pace once there is one, else by the expected work.

        `together`: clips that step in its pass, whose steps take all members' time at once.
        """
        if self.step_s is not None and self.paced:
            expected_s = pace.step * self.step_gpu_s * together
            steps = self.own_steps + self.steps_left
            step_s = step_seconds(self.step_s, expected_s, own_steps=self.own_steps, steps=steps)
            return step_s * self.steps_left + 0.2
        return max(0.0, pace.seconds(self.gpu_s) * (1 - self.done))

    def finish_s(self, pace: Pace) -> float:
        """Expected seconds of what comes after its steps, where its own pace is of those alone: less when they are
        done."""
        if not self.paced:
            return 0.0
        return pace.around_s * (0.5 if self.done >= 1 else 1.0)

    def saw(self, status: AttemptStatus) -> None:
        """Where its worker says it stands."""
        at_end = status.phase in {AttemptPhase.DECODING, AttemptPhase.UPLOADING}
        had = status.steps - status.resumed_from_step
        self.own_steps = max(0, status.step - status.resumed_from_step)
        self.steps_left = 0 if at_end else max(0, status.steps - status.step)
        self.done = 1.0 if at_end or had <= 0 else min(1.0, self.own_steps / had)
        self.step_s = status.step_s


@dataclass
class FleetWorker:
    """One worker."""

    worker_id: str
    recipes: frozenset[str]
    memory_gb: float
    resident: frozenset[str] = frozenset()
    loading: str | None = None
    takes_jobs: bool = True
    draining: bool = False
    heard_at_s: float = 0.0
    only_one: bool = False
    kept: str = ""
    kept_s: float = 0.0
    slots: dict[Slot, list[Occupant]] = field(default_factory=dict)


class Fleet:
    """All workers that were heard within a lease. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._workers: dict[str, FleetWorker] = {}
        self.paces = Paces()

    def restore(self, worker: FleetWorker) -> None:
        """A worker as the database has it, at the start of a term."""
        self._workers[worker.worker_id] = worker

    def saw(self, heartbeat: Heartbeat, now_s: float) -> bool:
        """Record a heartbeat; True when it made room or brought a model, so that someone may be dispatched."""
        before = self._workers.get(heartbeat.worker_id)
        worker = before or FleetWorker(worker_id=heartbeat.worker_id, recipes=frozenset(), memory_gb=0)
        changed = (
            before is None
            or worker.draining != heartbeat.draining
            or worker.resident != frozenset(heartbeat.resident)
            or now_s - worker.heard_at_s > LEASE.total_seconds()
        )
        worker.recipes = frozenset(heartbeat.recipes)
        worker.memory_gb = heartbeat.hardware.memory_gb
        worker.resident = frozenset(heartbeat.resident)
        worker.loading = heartbeat.loading
        worker.draining = heartbeat.draining
        worker.heard_at_s = now_s
        occupants = {o.attempt_id: o for together in worker.slots.values() for o in together}
        for status in heartbeat.attempts:
            occupant = occupants.get(status.attempt_id)
            if occupant is not None and status.steps:
                occupant.saw(status)
        self._workers[heartbeat.worker_id] = worker
        return changed

    def live(self, now_s: float) -> list[FleetWorker]:
        """Workers that were heard within a lease and take jobs."""
        return [
            w
            for w in self._workers.values()
            if w.takes_jobs and not w.draining and now_s - w.heard_at_s <= LEASE.total_seconds()
        ]

    def may_take(self, worker_id: str, allowed: Takes) -> None:
        """What the database says may be given to a worker now."""
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.takes_jobs = allowed is not Takes.NOTHING
            worker.only_one = allowed is Takes.ONE

    def views(self, now_s: float, *, without: Container[str] = ()) -> list[WorkerView]:
        """Live workers as the fair queue sees them. Those in `without` take nothing now."""
        return [self._view(w, w.worker_id not in without) for w in self.live(now_s)]

    def _view(self, worker: FleetWorker, may_take: bool) -> WorkerView:
        left_s = sum(self._left_s(together) for together in worker.slots.values())
        has_room = self.slot_for(worker.worker_id) is not None
        return WorkerView(
            worker_id=worker.worker_id,
            recipes=worker.recipes,
            memory_gb=worker.memory_gb,
            resident=worker.resident,
            busy_s=0.0 if has_room and left_s <= PREFETCH_S else max(left_s, 0.1 if worker.slots else 0.0),
            free=may_take and has_room,
            kept_s=worker.kept_s,
        )

    def slot_for(self, worker_id: str) -> Slot | None:
        """The slot that the worker's next job goes into; None when both are taken."""
        worker = self._workers[worker_id]
        if Slot.RUN not in worker.slots:
            return Slot.RUN
        return Slot.NEXT if Slot.NEXT not in worker.slots and not worker.only_one else None

    def takes_one(self, worker_id: str) -> bool:
        """Whether the worker, on probation, takes no more than a single job."""
        return self._workers[worker_id].only_one

    def running(self, now_s: float) -> list[tuple[WorkerView, list[Occupant]]]:
        """What live workers run now: one attempt, or those of a batch."""
        return [
            (self._view(w, True), list(w.slots[Slot.RUN])) for w in self.live(now_s) if Slot.RUN in w.slots
        ]

    def occupy(self, worker_id: str, slot: Slot, occupant: Occupant) -> None:
        """A slot was filled, or one more of a batch is in it."""
        worker = self._workers[worker_id]
        worker.slots.setdefault(slot, []).append(occupant)
        worker.kept_s = occupant.gpu_s + (worker.kept_s if worker.kept == occupant.recipe else 0.0)
        worker.kept = occupant.recipe

    def knows(self, worker_id: str) -> bool:
        """Whether this worker was ever heard of in this term."""
        return worker_id in self._workers

    def left(self, job_id: str) -> tuple[str, str] | None:
        """The job is on no worker any more; returns (worker_id, attempt_id) of where it was.

        Once the last one has left the run slot, what lay in the next slot is what the worker runs.
        """
        for worker in self._workers.values():
            for slot, together in list(worker.slots.items()):
                for occupant in together:
                    if occupant.job_id == job_id:
                        together.remove(occupant)
                        self._tidy(worker, slot)
                        return worker.worker_id, occupant.attempt_id
        return None

    @staticmethod
    def _tidy(worker: FleetWorker, slot: Slot) -> None:
        if worker.slots[slot]:
            return
        del worker.slots[slot]
        if slot is Slot.RUN and Slot.NEXT in worker.slots:
            worker.slots[Slot.RUN] = worker.slots.pop(Slot.NEXT)

    def runs(self, worker_id: str) -> list[str]:
        """The attempts in a worker's run slot."""
        worker = self._workers.get(worker_id)
        return [occupant.attempt_id for occupant in worker.slots.get(Slot.RUN, [])] if worker else []

    def holds(self, job_id: str) -> str | None:
        """The attempt of this job that lies in some slot, if any."""
        for worker in self._workers.values():
            for together in worker.slots.values():
                for occupant in together:
                    if occupant.job_id == job_id:
                        return occupant.attempt_id
        return None

    def left_s_of(self, job_id: str) -> tuple[float, float] | None:
        """Expected seconds (p50, p90) until a job on a worker is rendered; loading its model, what runs before it, and
        what runs with it, count too."""
        for worker in self._workers.values():
            for slot, together in worker.slots.items():
                for occupant in together:
                    if occupant.job_id == job_id:
                        return self._left_s_in(worker, slot, occupant)
        return None

    def paced(self, job_id: str) -> bool:
        """Whether a job on a worker has a pace of its own, so that what is left of it is known."""
        return any(
            occupant.paced
            for worker in self._workers.values()
            for together in worker.slots.values()
            for occupant in together
            if occupant.job_id == job_id
        )

    def _left_s_in(self, worker: FleetWorker, slot: Slot, occupant: Occupant) -> tuple[float, float]:
        pace = self._pace(occupant)
        left_s = self._left_s(worker.slots[slot]) + occupant.finish_s(pace)
        if slot is Slot.NEXT and Slot.RUN in worker.slots:
            left_s += self._left_s(worker.slots[Slot.RUN])
        if occupant.own_steps == 0 and occupant.recipe not in worker.resident:
            left_s += occupant.load_s
        return left_s, left_s * pace.late

    def loading(self, recipe: str, now_s: float) -> bool:
        """Whether some live worker loads this model now."""
        return any(w.loading == recipe for w in self.live(now_s))

    def _pace(self, occupant: Occupant) -> Pace:
        return self.paces.of(occupant.recipe, occupant.step_gpu_s)

    def _left_s(self, together: Sequence[Occupant]) -> float:
        """Expected seconds of one pass. Its steps take all members' time at once; without a pace, their work
        adds up."""
        stepping = sum(occupant.paced for occupant in together)
        left = [(occupant, occupant.left_s(self._pace(occupant), stepping)) for occupant in together]
        paced = [left_s for occupant, left_s in left if occupant.paced]
        return max(paced) if paced else sum(left_s for _occupant, left_s in left)
