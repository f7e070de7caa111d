"""The life of jobs under random interleavings and races of the real use cases, on the real database.

Every rule does one thing that could happen now, or two at the same time; workers speak late, twice, and for others.
After each, the database must still tell a story that holds together; at the end every job is brought to one end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from backend.auth.principal import Principal, Role
from backend.contracts import CheckpointRef, FailureCause, Order, Outcome
from backend.db.engine import Database
from backend.domain.artifact import ArtifactKind
from backend.domain.attempt import Slot
from backend.domain.errors import NotFound, ZoetropeError
from backend.services.accept_report import accept_report
from backend.services.cancel_generation import cancel_generation
from backend.services.decide_review import apply_decision, decide_review, undo_review
from backend.services.delete_generation import delete_generation
from backend.services.dispatch_generation import Term, dispatch_generation
from backend.services.expire_leases import expire_leases, expire_stalled
from backend.services.locate_artifact import locate_artifact
from backend.services.moderate_generation import moderate_generation
from backend.services.preempt_generation import preempt_generation
from backend.services.publish_generation import publish_generation
from backend.services.sweep_generation import sweep_generation
from backend.studio import Studio
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    empty,
    judge,
    lead,
    ledger_is_sound,
    make_creator,
    open_test_studio,
    submit,
)

ENDS = {"completed", "failed", "blocked", "cancelled"}
STEPS = 16
MOST_JOBS = 3

# Each says what no interleaving may ever bring about.
LIES = {
    "a hold that is open after its job's end, or ended before it": "SELECT j.id FROM jobs j JOIN holds h ON"
    " h.job_id = j.id WHERE (h.state = 'open') = (j.state IN ('completed','failed','blocked','cancelled'))",
    "a hold that ended twice": "SELECT hold_id FROM ledger_entries WHERE book = 'held' AND amount < 0"
    " GROUP BY hold_id HAVING count(DISTINCT transaction_id) > 1",
    "a charge above the quote": "SELECT id FROM jobs WHERE charged > quoted",
    "a clip that was charged and not delivered": "SELECT j.id FROM jobs j WHERE j.charged > 0 AND j.state NOT IN"
    " ('completed','cancelled')",
    "a job on a worker without a live attempt of its fence": "SELECT j.id FROM jobs j WHERE"
    " j.state IN ('assigned','running') AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id"
    " AND a.fence = j.fence AND a.state IN ('ordered','running'))",
    "a live attempt of a job that is on no worker": "SELECT a.id FROM attempts a JOIN jobs j ON j.id = a.job_id"
    " WHERE a.state IN ('ordered','running') AND (j.state NOT IN ('assigned','running') OR j.fence <> a.fence)",
    "an attempt that ended without a word": "SELECT id FROM attempts WHERE state NOT IN"
    " ('ordered','running','done') AND (ended_at IS NULL OR cause IS NULL)",
    "two finished attempts of one job": "SELECT job_id FROM attempts WHERE state = 'done' GROUP BY job_id"
    " HAVING count(*) > 1",
    "an artifact that no finished attempt made": "SELECT r.id FROM artifacts r WHERE NOT EXISTS (SELECT 1 FROM"
    " attempts a WHERE a.job_id = r.job_id AND a.fence = r.fence AND a.state = 'done')",
    "a released artifact without a verdict on its bytes": "SELECT r.id FROM artifacts r WHERE r.state = 'released'"
    " AND NOT EXISTS (SELECT 1 FROM verdicts v WHERE v.job_id = r.job_id AND v.stage = 'output'"
    " AND v.sha256 = r.sha256 AND v.verdict = 'allow')",
    "a released artifact of a job that is not completed": "SELECT r.id FROM artifacts r JOIN jobs j ON"
    " j.id = r.job_id WHERE r.state = 'released' AND (j.state <> 'completed' OR j.deleted_at IS NOT NULL)",
    "a checkpoint of a job that another one wrote": "SELECT id FROM jobs WHERE checkpoint IS NOT NULL AND"
    " NOT starts_with(checkpoint->>'key', 'jobs/' || id || '/')",
    "more steps than there are": "SELECT id FROM jobs WHERE steps_done > steps",
}

_ALL_LIES = " UNION ALL ".join(
    f"(SELECT '{lie.replace(chr(39), '')}' AS lie, found::text FROM ({query}) found)"
    for lie, query in LIES.items()
)

_jobs = st.integers(0, MOST_JOBS - 1)
_orders = st.integers(0, 3)
_workers = st.sampled_from(["w1", "w2", "w3"])
OPS: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "dispatch": st.tuples(_jobs, _workers, st.sampled_from(list(Slot))),
    "beat": st.tuples(_orders, st.integers(1, STEPS), st.booleans()),
    "finish": st.tuples(_orders),
    "fail": st.tuples(_orders, st.sampled_from(list(FailureCause))),
    "stop": st.tuples(
        _orders, st.sampled_from([Outcome.PREEMPTED, Outcome.HANDED_BACK]), st.integers(1, STEPS)
    ),
    "preempt": st.tuples(_orders),
    "expire": st.tuples(_orders),
    "stall": st.tuples(_orders),
    "reboot": st.tuples(_workers),
    "cancel": st.tuples(_jobs),
    "delete": st.tuples(_jobs),
    "moderate": st.tuples(_jobs, st.sampled_from(list(Verdict))),
    "decide": st.tuples(st.integers(0, 2), st.sampled_from(["allow", "block", "undo"])),
    "apply": st.tuples(st.integers(0, 2)),
    "publish": st.tuples(_jobs),
    "sweep": st.tuples(_jobs),
    "submit": st.just(()),
}
# Most of the time jobs go their good way, or few would live long enough to meet anything.
_op = st.one_of(
    st.tuples(st.just("forward"), st.tuples(_jobs)),
    st.sampled_from(sorted(OPS)).flatmap(lambda name: st.tuples(st.just(name), OPS[name])),
)


@dataclass
class World:
    """What the machine knows of one example beside the database."""

    studio: Studio
    term: Term
    creator: Principal
    moderator: Principal
    workers: dict[str, MessageWorker]
    jobs: list[str] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    seen: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    async def act(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Do one thing. A refusal is fine; whatever the database or a use case raises otherwise is not."""
        action: Callable[..., Awaitable[None]] = getattr(self, f"_{name}")
        with suppress(ZoetropeError):
            await action(*arguments)

    def _job(self, index: int) -> str | None:
        return self.jobs[index % len(self.jobs)] if self.jobs else None

    def _order(self, back: int) -> Order | None:
        return self.orders[-1 - back % len(self.orders)] if self.orders else None

    async def _submit(self) -> None:
        if len(self.jobs) < MOST_JOBS:
            self.jobs.append((await submit(self.studio, self.creator)).id)

    async def _forward(self, job: int) -> None:
        if (job_id := self._job(job)) is not None:
            for (state,) in await self.read(f"SELECT state FROM jobs WHERE id = '{job_id}'"):
                await self._bring_on(job_id, state, whole_way=False)

    async def _dispatch(self, job: int, worker_id: str, slot: Slot) -> None:
        if (job_id := self._job(job)) is not None:
            order = await dispatch_generation(
                self.studio, self.term, job_id=job_id, worker_id=worker_id, slot=slot
            )
            if order is not None:
                self.orders.append(order)

    async def _beat(self, back: int, step: int, keeps: bool) -> None:
        if (order := self._order(back)) is not None:
            worker = self.workers[order.worker_id]
            checkpoint = _checkpoint(order, step) if keeps else None
            await worker.beat(worker.status(order, step, checkpoint=checkpoint, preview=step))

    async def _finish(self, back: int) -> None:
        if (order := self._order(back)) is not None:
            content = f"clip of fence {order.fence}".encode()
            await self.workers[order.worker_id].finish(order, content=content)

    async def _fail(self, back: int, cause: FailureCause) -> None:
        if (order := self._order(back)) is not None:
            await self.workers[order.worker_id].fail(order, cause)

    async def _stop(self, back: int, outcome: Outcome, step: int) -> None:
        if (order := self._order(back)) is not None:
            worker = self.workers[order.worker_id]
            report = worker.report(order, outcome, checkpoint=_checkpoint(order, step))
            await accept_report(self.studio, report)

    async def _preempt(self, back: int) -> None:
        if (order := self._order(back)) is not None:
            await preempt_generation(self.studio, self.term, attempt_id=order.attempt_id)

    async def _expire(self, back: int) -> None:
        if (order := self._order(back)) is not None:
            await self._write(
                "UPDATE attempts SET lease_expires_at = now() - interval '1 second' WHERE id = :id", order
            )
            await expire_leases(self.studio)

    async def _stall(self, back: int) -> None:
        if (order := self._order(back)) is not None:
            await self._write(
                "UPDATE attempts SET progressed_at = now() - interval '1 day', seen_at = now() - interval '1 day'"
                " WHERE id = :id AND seen_at IS NOT NULL",
                order,
            )
            await expire_stalled(self.studio)

    async def _reboot(self, worker_id: str) -> None:
        worker = self.workers[worker_id]
        worker.boot_id = f"boot{worker.seq + 1}"
        await worker.beat()

    async def _cancel(self, job: int) -> None:
        if (job_id := self._job(job)) is not None:
            await cancel_generation(self.studio, self.creator, job_id)

    async def _delete(self, job: int) -> None:
        if (job_id := self._job(job)) is not None:
            await delete_generation(self.studio, self.creator, job_id)

    async def _moderate(self, job: int, verdict: Verdict) -> None:
        if (job_id := self._job(job)) is not None:
            await moderate_generation(self.studio, job_id, judge(verdict))

    async def _decide(self, case: int, decision: str) -> None:
        cases = await self.read("SELECT id, version FROM review_cases ORDER BY opened_at, id")
        if cases:
            case_id = cases[case % len(cases)][0]
            if decision == "undo":
                await undo_review(self.studio, self.moderator, case_id)
            else:
                await decide_review(
                    self.studio, self.moderator, case_id, decision=decision, undo=timedelta(0)
                )

    async def _apply(self, case: int) -> None:
        cases = await self.read("SELECT id, version FROM review_cases ORDER BY opened_at, id")
        if cases:
            await apply_decision(self.studio, *cases[case % len(cases)])

    async def _publish(self, job: int) -> None:
        if (job_id := self._job(job)) is not None:
            await publish_generation(self.studio, job_id)

    async def _sweep(self, job: int) -> None:
        if (job_id := self._job(job)) is not None:
            await sweep_generation(self.studio, job_id)

    async def read(self, query: str) -> list[Any]:
        async with self.studio.db.reading() as session:
            return [tuple(row) for row in await session.execute(text(query))]

    async def _write(self, statement: str, order: Order) -> None:
        async with self.studio.db.transaction() as session:
            await session.execute(text(statement), {"id": order.attempt_id})

    async def check(self) -> None:
        """The story holds together, and goes forward only."""
        assert await self.read(_ALL_LIES) == []
        for job_id, state, fence, steps, charged, error in await self.read(
            "SELECT id, state, fence, steps_done, charged, error_code FROM jobs"
        ):
            now = (state, fence, steps, charged, error)
            before = self.seen.get(job_id, now)
            if before[0] in ENDS:
                assert now == before, f"the end of {job_id} changed"
            assert fence >= before[1], "a fence went back"
            assert steps >= before[2], "progress fell"
            if now != before or job_id not in self.seen:
                self.seen[job_id] = now
                await self._nothing_unjudged_is_served(job_id)

    async def _nothing_unjudged_is_served(self, job_id: str) -> None:
        try:
            found = await locate_artifact(self.studio, self.creator, job_id, ArtifactKind.VIDEO)
        except NotFound:
            return
        assert self.seen[job_id][0] == "completed"
        served = await self.studio.storage.get_bytes(found.key, limit_bytes=1000)
        fence = (await self.read("SELECT job_id, fence FROM artifacts WHERE kind = 'video'")) or []
        assert served == f"clip of fence {dict(fence)[job_id]}video".encode()

    async def drain(self) -> None:
        """Whatever happened, each job can be brought to one end by the ordinary way."""
        for job_id, state in await self.read("SELECT id, state FROM jobs"):
            await self._bring_on(job_id, state, whole_way=True)
        left = [row for row in await self.read("SELECT id, state FROM jobs") if row[1] not in ENDS]
        assert left == []

    async def _bring_on(self, job_id: str, state: str, *, whole_way: bool) -> None:
        """One step of the good way, or all that are left."""
        while state not in ENDS:
            match state:
                case "queued":
                    worker = MessageWorker(self.studio, worker_id=f"fresh{len(self.orders)}")
                    self.workers[worker.worker_id] = worker
                    order = await dispatch_generation(
                        self.studio, self.term, job_id=job_id, worker_id=worker.worker_id, slot=Slot.RUN
                    )
                    assert order is not None or not whole_way, "a waiting job goes to a worker that is free"
                    if order is not None:
                        self.orders.append(order)
                case "assigned" | "running":
                    order = next((o for o in reversed(self.orders) if o.job_id == job_id), None)
                    if order is not None:
                        worker = self.workers[order.worker_id]
                        if state == "assigned":
                            await worker.step(order, 5)
                        else:
                            await worker.finish(order, content=f"clip of fence {order.fence}".encode())
                case "moderating":
                    await moderate_generation(self.studio, job_id, judge(Verdict.ALLOW))
                case "in_review":
                    await self._allow(job_id)
                case _:
                    await publish_generation(self.studio, job_id)
            if not whole_way:
                return
            before = state
            ((state,),) = await self.read(f"SELECT state FROM jobs WHERE id = '{job_id}'")
            assert state != before, f"{job_id} is stuck in {state}"

    async def _allow(self, job_id: str) -> None:
        of_job = f"FROM review_cases WHERE job_id = '{job_id}'"
        for (case_id,) in await self.read(f"SELECT id {of_job} AND state = 'open'"):
            await decide_review(self.studio, self.moderator, case_id, decision="allow", undo=timedelta(0))
        for case_id, version in await self.read(f"SELECT id, version {of_job} AND state = 'decided'"):
            await apply_decision(self.studio, case_id, version)


def _checkpoint(order: Order, step: int) -> CheckpointRef:
    return CheckpointRef(
        key=order.objects.checkpoint_a.key, step=step, sha256=f"{step:064d}", size_bytes=1, identity="same"
    )


class Life(RuleBasedStateMachine):
    """Jobs, workers, moderators and an impatient owner."""

    runner: ClassVar[asyncio.Runner]
    studio: ClassVar[Studio]

    def __init__(self) -> None:
        super().__init__()
        self.world = self.runner.run(self._begin())

    async def _begin(self) -> World:
        await empty(self.studio.db)
        term = await lead(self.studio)
        async with self.studio.db.transaction() as session:
            await session.execute(text("UPDATE leader_terms SET expires_at = now() + interval '1 day'"))
        return World(
            studio=self.studio,
            term=term,
            creator=await make_creator(self.studio, credits=100_000),
            moderator=await make_creator(self.studio, role=Role.MODERATOR),
            workers={name: MessageWorker(self.studio, worker_id=name) for name in ("w1", "w2", "w3")},
        )

    @initialize()
    def two_jobs(self) -> None:
        for _ in range(2):
            self.runner.run(self.world.act("submit", ()))

    @rule(op=_op)
    def one_thing(self, op: tuple[str, tuple[Any, ...]]) -> None:
        self.runner.run(self.world.act(*op))

    @rule(ops=st.lists(_op, min_size=2, max_size=3))
    def at_the_same_time(self, ops: list[tuple[str, tuple[Any, ...]]]) -> None:
        async def act() -> None:
            await asyncio.gather(*(self.world.act(*op) for op in ops))

        self.runner.run(act())

    @invariant()
    def the_story_holds_together(self) -> None:
        self.runner.run(self.world.check())

    def teardown(self) -> None:
        async def end() -> None:
            await self.world.drain()
            await self.world.check()
            await ledger_is_sound(self.studio)

        self.runner.run(end())


def _run(pg_url: str, valkey_url: str, folder: Path, *, examples: int, steps: int) -> None:
    with asyncio.Runner() as runner:

        async def open_studio() -> Studio:
            return open_test_studio(Database(pg_url), valkey_url, folder)

        class OnThisStudio(Life):
            pass

        OnThisStudio.runner, OnThisStudio.studio = runner, runner.run(open_studio())
        try:
            run_state_machine_as_test(
                OnThisStudio,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    derandomize=True,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(OnThisStudio.studio.close())


def test_no_interleaving_breaks_the_life_of_a_job(pg_url: str, valkey_url: str, tmp_path: Path) -> None:
    _run(pg_url, valkey_url, tmp_path, examples=15, steps=40)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_interleaving_breaks_the_life_of_a_job_for_long(
    pg_url: str, valkey_url: str, tmp_path: Path
) -> None:
    _run(pg_url, valkey_url, tmp_path, examples=300, steps=60)
