"""A worker's batches with the fake engine: members share a pass, and nothing else."""

import dataclasses
import hashlib
import io
import time
from collections.abc import Sequence

import pytest
from PIL import Image

from backend.contracts import AttemptPhase, Batch, Conditioning, FailureCause, Order, Outcome, Wish
from backend.recipes import CATALOGUE, Recipe
from gpu_worker.engine import Member, Rendered
from gpu_worker.fake_engine import FakeEngine, FakeSettings, Fault
from tests.integration.worker_rig import (
    QUICK,
    ControlPlane,
    ObjectServer,
    make_order,
    resume_from,
    worker_in_process,
)

MINI = dataclasses.replace(CATALOGUE["mini"], max_batch=4)
RECIPES = {"mini": MINI}
PATIENT = dataclasses.replace(QUICK, gather_s=30.0)


class WatchedEngine(FakeEngine):
    """Remembers the prompts of each pass, in order."""

    def __init__(self, **settings: object) -> None:
        super().__init__(FakeSettings.model_validate({"step_s": 0.02, **settings}))
        self.passes: list[list[str]] = []
        self.passes_s = 0.0
        self.loading_s = 0.0

    def load(self, recipe: Recipe) -> None:
        started = time.monotonic()
        super().load(recipe)
        self.loading_s += time.monotonic() - started

    def generate_batch(self, recipe: Recipe, members: Sequence[Member]) -> Sequence[Rendered]:
        self.passes.append([member.request.spec.prompt for member in members])
        started = time.monotonic()
        rendered = super().generate_batch(recipe, members)
        self.passes_s += time.monotonic() - started
        return rendered


def together(*orders: Order) -> list[Order]:
    """Orders as the control plane makes them to share a pass."""
    batch = Batch(id=orders[0].attempt_id, size=len(orders))
    return [order.model_copy(update={"batch": batch}) for order in orders]


def three(server: ObjectServer, steps: int = 6) -> list[Order]:
    return together(
        *(make_order(server, name, prompt=name, seed=seed, steps=steps) for seed, name in enumerate("abc"))
    )


async def test_members_of_a_batch_share_a_pass_and_have_clips_of_their_own(
    control: ControlPlane, server: ObjectServer
) -> None:
    orders = three(server)
    alone = make_order(server, "alone", prompt="b", seed=1)
    engine = WatchedEngine()
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        for order in orders:
            await control.order(order)
        reports = [await control.report_of(order) for order in orders]
        await control.order(alone)
        await control.report_of(alone)
    assert engine.passes == [["a", "b", "c"], ["b"]]
    assert [(report.outcome, report.steps_done) for report in reports] == [(Outcome.DONE, 6)] * 3
    clips = [server.objects[order.objects.clip.key] for order in orders]
    assert len(set(clips)) == 3
    assert clips[1] == server.objects[alone.objects.clip.key]
    for order in orders:
        statuses = [s for beat in control.heartbeats for s in beat.attempts if s.job_id == order.job_id]
        assert max(status.preview_version for status in statuses) > 0
        assert max(status.step for status in statuses) == 6


async def test_members_share_the_time_of_their_pass_and_of_its_loading(
    control: ControlPlane, server: ObjectServer
) -> None:
    orders = three(server, steps=20)
    engine = WatchedEngine(load_s=0.5)
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        for order in orders:
            await control.order(order)
        timings = [(await control.report_of(order)).timings for order in orders]
    assert len(engine.passes) == 1
    assert 20 * 0.02 <= sum(each.denoise_s for each in timings) <= engine.passes_s
    assert 0.5 <= sum(each.load_s for each in timings) < 2 * engine.loading_s


@pytest.mark.parametrize(
    ("fault", "cause", "passes"),
    [
        (Fault.NAN, FailureCause.NOT_A_NUMBER, [["a", "b", "c"], ["b"]]),
        (Fault.OOM, FailureCause.OUT_OF_MEMORY, [["a", "b", "c"], ["a"], ["b"], ["c"]]),
        (Fault.RAISE, FailureCause.ENGINE_ERROR, [["a", "b", "c"], ["a"], ["b"], ["c"]]),
    ],
)
async def test_one_poisoned_member_costs_its_neighbours_nothing(
    control: ControlPlane, server: ObjectServer, fault: Fault, cause: FailureCause, passes: list[list[str]]
) -> None:
    orders = three(server)
    engine = WatchedEngine(fault=fault, fault_prompt="b")
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        for order in orders:
            await control.order(order)
        reports = [await control.report_of(order) for order in orders]
    assert [(report.outcome, report.cause) for report in reports] == [
        (Outcome.DONE, None),
        (Outcome.FAILED, cause),
        (Outcome.DONE, None),
    ]
    assert engine.passes == passes


async def test_a_batch_that_broke_keeps_the_worker_until_all_its_members_went_on(
    control: ControlPlane, server: ObjectServer
) -> None:
    orders = three(server, steps=10)
    following = make_order(server, "following", prompt="following")
    engine = WatchedEngine(fault=Fault.RAISE, fault_prompt="b", fault_step=9)
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        for order in orders:
            await control.order(order)
        await control.until(lambda: control.at_step(orders[0], 2))
        await control.order(following)
        for order in [*orders, following]:
            await control.report_of(order)
    assert engine.passes == [["a", "b", "c"], ["a"], ["b"], ["c"], ["following"]]
    # The last one waited for the others, and its owner is not shown the steps of a pass that broke.
    last = [s for beat in control.heartbeats for s in beat.attempts if s.job_id == orders[2].job_id]
    began = next(at for at, status in enumerate(last) if status.phase is AttemptPhase.DENOISING)
    again = [status for status in last[began:] if status.phase is AttemptPhase.RECEIVED]
    assert {(status.step, status.step_s) for status in again} == {(0, None)}


async def test_a_member_that_is_stopped_leaves_the_other_its_clip(
    control: ControlPlane, server: ObjectServer
) -> None:
    left, stayed = together(make_order(server, "left", steps=60), make_order(server, "stayed", steps=60))
    engine = WatchedEngine()
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        for order in (left, stayed):
            await control.order(order)
        await control.until(lambda: control.at_step(left, 3))
        await control.wish(left.attempt_id, Wish.STOP)
        stopped, done = await control.report_of(left), await control.report_of(stayed)
    assert (stopped.outcome, done.outcome) == (Outcome.STOPPED, Outcome.DONE)
    assert stopped.steps_done < 60
    assert left.objects.clip.key not in server.objects
    assert len(engine.passes) == 1


async def test_a_preempted_batch_keeps_a_checkpoint_of_each_member(
    control: ControlPlane, server: ObjectServer
) -> None:
    orders = three(server, steps=60)[:2]
    orders = together(*orders)
    engine = WatchedEngine()
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        for order in orders:
            await control.order(order)
        await control.until(lambda: control.at_step(orders[0], 3))
        for order in orders:
            await control.wish(order.attempt_id, Wish.PREEMPT)
        reports = [await control.report_of(order) for order in orders]
        assert [report.outcome for report in reports] == [Outcome.PREEMPTED] * 2
        resumed: list[Order] = []
        for name, first, report in zip("ab", orders, reports, strict=True):
            assert report.checkpoint is not None
            assert report.checkpoint.step == report.steps_done >= 3
            again = make_order(
                server,
                f"{name}-again",
                prompt=name,
                seed="ab".index(name),
                steps=60,
                job=first.job_id,
                fence=2,
                resume=resume_from(server, report),
            )
            resumed.append(again)
        # In one batch again: each goes on from a step of its own, so alone.
        resumed = together(*resumed)
        for order in resumed:
            await control.order(order)
        for order, report in zip(resumed, reports, strict=True):
            assert (await control.report_of(order)).resumed_from_step == report.steps_done
    assert engine.passes[0] == ["a", "b"]
    assert sorted(engine.passes[1:]) == [["a"], ["b"]]


async def test_a_batch_waits_a_moment_for_its_members_and_runs_those_that_came(
    control: ControlPlane, server: ObjectServer
) -> None:
    first, second, late = three(server)
    engine = WatchedEngine()
    pace = dataclasses.replace(QUICK, gather_s=0.3)
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=pace):
        await control.order(first)
        await control.order(second)
        await control.report_of(first)
        await control.order(late)
        assert (await control.report_of(late)).outcome is Outcome.DONE
    assert engine.passes == [["a", "b"], ["c"]]


async def test_a_batch_is_no_larger_than_this_workers_recipe_says(
    control: ControlPlane, server: ObjectServer
) -> None:
    orders = three(server)
    engine = WatchedEngine()
    smaller = {"mini": dataclasses.replace(MINI, max_batch=2)}
    pace = dataclasses.replace(QUICK, gather_s=0.3)
    async with worker_in_process(control.redis_url, server, engine, recipes=smaller, pace=pace):
        for order in orders:
            await control.order(order)
        assert [(await control.report_of(order)).outcome for order in orders] == [Outcome.DONE] * 3
    assert engine.passes == [["a", "b"], ["c"]]


async def test_members_that_are_not_alike_do_not_meet(control: ControlPlane, server: ObjectServer) -> None:
    orders = together(
        make_order(server, "short", prompt="short", steps=4),
        make_order(server, "long", prompt="long", steps=8),
    )
    engine = WatchedEngine()
    pace = dataclasses.replace(QUICK, gather_s=0.1)
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=pace):
        for order in orders:
            await control.order(order)
        reports = [await control.report_of(order) for order in orders]
    assert [report.steps_done for report in reports] == [4, 8]
    assert sorted(engine.passes) == [["long"], ["short"]]


async def test_only_members_of_equal_guidance_meet(control: ControlPlane, server: ObjectServer) -> None:
    batch = Batch(id="mixed", size=2)
    orders = []
    for name, guidance in (("a", 2.0), ("b", 3.0), ("c", 2.0), ("d", 3.0)):
        order = make_order(server, name, prompt=name)
        spec = order.spec.model_copy(update={"guidance_scale": guidance})
        orders.append(order.model_copy(update={"spec": spec, "batch": batch}))
    engine = WatchedEngine()
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        for order in orders:
            await control.order(order)
            await control.until(lambda order=order: control.status(order) is not None)
        for order in orders:
            assert (await control.report_of(order)).outcome is Outcome.DONE
    assert sorted(sorted(each) for each in engine.passes) == [["a", "c"], ["b", "d"]]


async def test_a_clip_with_an_image_of_its_own_is_rendered_alone(
    control: ControlPlane, server: ObjectServer
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (90, 60), (250, 10, 10)).save(out, format="PNG")
    server.objects["image"] = out.getvalue()
    sha256 = hashlib.sha256(out.getvalue()).hexdigest()
    image = Conditioning(image=server.signed("image"), sha256=sha256)
    orders = together(*(make_order(server, name, prompt=name, conditioning=(image,)) for name in "ab"))
    engine = WatchedEngine()
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        for order in orders:
            await control.order(order)
        for order in orders:
            assert (await control.report_of(order)).outcome is Outcome.DONE
    assert sorted(engine.passes) == [["a"], ["b"]]


async def test_a_member_stopped_while_the_others_gather_is_not_waited_for_in_the_pass(
    control: ControlPlane, server: ObjectServer
) -> None:
    busy = make_order(server, "busy", prompt="busy", steps=400)
    orders = three(server)
    engine = WatchedEngine()
    async with worker_in_process(control.redis_url, server, engine, recipes=RECIPES, pace=PATIENT):
        await control.order(busy)
        await control.until(lambda: control.at_step(busy, 1))
        for order in orders:
            await control.order(order)
            await control.until(lambda order=order: control.status(order) is not None)
        await control.wish(orders[1].attempt_id, Wish.STOP)
        assert (await control.report_of(orders[1])).outcome is Outcome.STOPPED
        await control.wish(busy.attempt_id, Wish.STOP)
        for order in (orders[0], orders[2]):
            assert (await control.report_of(order)).outcome is Outcome.DONE
    assert engine.passes == [["busy"], ["a", "c"]]


async def test_a_batch_is_handed_back_whole_when_the_worker_ends(
    control: ControlPlane, server: ObjectServer
) -> None:
    orders = three(server, steps=500)
    async with worker_in_process(
        control.redis_url, server, WatchedEngine(), recipes=RECIPES, pace=PATIENT
    ) as loop:
        for order in orders:
            await control.order(order)
        await control.until(lambda: control.at_step(orders[2], 2))
        await loop.drain()
        reports = [await control.report_of(order) for order in orders]
    assert [report.outcome for report in reports] == [Outcome.HANDED_BACK] * 3
    assert all(report.checkpoint is not None for report in reports)
