"""Renders cut to pieces at random steps and put together again: always the undisturbed clip, bit for bit.

Everything follows from a seed, which is the test's parameter. `make test` runs a few of them, `make test-long` many.
"""

import asyncio
import random
import signal
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from backend.contracts import Order, Outcome, RenderSpec, ResumeFrom, Wish
from backend.recipes import CATALOGUE, Recipe
from backend.recipes.mini_world import EXAMPLE_PROMPTS, FRAME_PX, NUM_FRAMES
from backend.settings import Device
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.diffusers_engine import DiffusersEngine
from gpu_worker.engine import ConditioningImage, EngineClip, RenderRequest, StepBoundary
from tests.contract.tiny_pipelines import WORDS, tiny_recipe
from tests.integration.worker_rig import (
    ControlPlane,
    ObjectServer,
    ValkeyProcess,
    make_order,
    resume_from,
    start_worker_process,
)

KINDS = ("ltx", "ltx_condition", "wan", "mini")
MOST_LEGS = 6


class _CutHere(Exception):
    pass


@dataclass
class Leg:
    """Hooks of one piece of a render: keeps checkpoints where it is told to, and ends where it is told to."""

    keep_at: frozenset[int] = frozenset()
    cut_at: int | None = None
    preview_at: frozenset[int] = frozenset()
    kept: list[Checkpoint] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def on_phase(self, _phase: object) -> None:
        pass

    def on_step(self, boundary: StepBoundary) -> None:
        self.steps.append(boundary.step)
        if boundary.step in self.preview_at:
            boundary.preview()
        if boundary.step in self.keep_at:
            checkpoint = boundary.checkpoint()
            assert checkpoint is not None
            self.kept.append(Checkpoint.from_bytes(checkpoint.to_bytes()))
        if boundary.step == self.cut_at:
            raise _CutHere


@cache
def recipe_of(kind: str, folder: Path) -> Recipe:
    return CATALOGUE["mini"] if kind == "mini" else tiny_recipe(kind, folder / kind)


def random_request(chance: random.Random, kind: str) -> RenderRequest:
    """A request that this kind of pipeline can render, of 2 to 9 steps."""
    mini = kind == "mini"
    width, height = (FRAME_PX, FRAME_PX) if mini else chance.choice([(64, 32), (32, 64), (64, 64)])
    num_frames = NUM_FRAMES if mini else chance.choice([9, 17])
    spec = RenderSpec(
        prompt=chance.choice(EXAMPLE_PROMPTS) if mini else " ".join(chance.sample(WORDS, 4)),
        negative_prompt=chance.choice(["", "blue"]),
        width=width,
        height=height,
        num_frames=num_frames,
        fps=8,
        num_inference_steps=chance.randint(2, 9),
        guidance_scale=chance.choice([1.0, 1.5, 4.0]),
        seed=chance.randrange(2**31),
    )
    takes_images = kind in ("ltx_condition", "mini")
    frames = chance.choice([(), (0,), (0, num_frames - 1)]) if takes_images else ()
    images = tuple(
        ConditioningImage(
            pixels=np.full((height, width, 3), [chance.randrange(256) for _ in range(3)], np.uint8),
            frame_index=index,
            strength=1.0 if mini else chance.choice([1.0, 0.6]),
        )
        for index in frames
    )
    return RenderRequest(spec=spec, images=images)


def render(engine: DiffusersEngine, recipe: Recipe, request: RenderRequest, leg: Leg) -> EngineClip | None:
    """The clip, or None where the leg was cut. The leg went on where its checkpoint said."""
    first = request.checkpoint.step if request.checkpoint is not None else 0
    try:
        clip: EngineClip | None = engine.generate(recipe, request, leg)
    except _CutHere:
        clip = None
    last = leg.cut_at if clip is None else request.spec.num_inference_steps
    assert last is not None
    assert leg.steps == list(range(first + 1, last + 1))
    return clip


def cut_and_go_on(kind: str, recipe: Recipe, seed: int) -> None:
    """One render in pieces, beside the same one undisturbed."""
    chance = random.Random(f"{kind} {seed}")
    engine = DiffusersEngine(Device.CPU)
    engine.load(recipe)
    request = random_request(chance, kind)
    steps = request.spec.num_inference_steps
    whole = render(engine, recipe, request, Leg())
    assert whole is not None
    story: list[str] = []
    newest: Checkpoint | None = None
    for number in range(MOST_LEGS + 1):
        begun = newest.step if newest is not None else 0
        within = range(begun + 1, steps + 1)
        leg = Leg(
            # Cut at the last step too: what is left then is to decode.
            cut_at=chance.choice(within) if number < MOST_LEGS and within and chance.random() < 0.8 else None,
            keep_at=frozenset(step for step in within if chance.random() < 0.4),
            preview_at=frozenset(step for step in within if chance.random() < 0.3),
        )
        if leg.cut_at is not None and chance.random() < 0.5:
            # Preempted or handed back: the state at the cut is kept. Else it was killed.
            leg.keep_at |= {leg.cut_at}
        story.append(f"from {begun}, keep {sorted(leg.keep_at)}, cut {leg.cut_at}")
        pieced = RenderRequest(spec=request.spec, images=request.images, checkpoint=newest)
        clip = render(engine, recipe, pieced, leg)
        if clip is not None:
            assert clip.resumed_from_step == begun, story
            assert clip.exact_resume, story
            assert np.array_equal(clip.frames, whole.frames), story
            return
        newest = leg.kept[-1] if leg.kept else newest
        match chance.randrange(3):
            case 0:
                # Another worker goes on.
                engine = DiffusersEngine(Device.CPU)
                engine.load(recipe)
            case 1:
                # Something else is rendered in between.
                other = random_request(chance, kind)
                render(engine, recipe, other, Leg())
    raise AssertionError(f"the last leg is never cut: {story}")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_a_render_in_pieces_is_the_undisturbed_one(
    kind: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cut_and_go_on(kind, recipe_of(kind, _weights(tmp_path_factory)), seed)


@pytest.mark.long
@pytest.mark.parametrize("block", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_many_renders_in_pieces_are_the_undisturbed_ones(
    kind: str, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = recipe_of(kind, _weights(tmp_path_factory))
    for seed in range(100 + 20 * block, 120 + 20 * block):
        cut_and_go_on(kind, recipe, seed)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_steps_is_a_place_to_stop_and_go_on(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = recipe_of(kind, _weights(tmp_path_factory))
    engine = DiffusersEngine(Device.CPU)
    engine.load(recipe)
    drawn = random_request(random.Random(kind), kind)
    request = RenderRequest(
        spec=drawn.spec.model_copy(update={"num_inference_steps": 7}), images=drawn.images
    )
    whole = render(engine, recipe, request, Leg())
    assert whole is not None
    for first in range(1, 8):
        one = Leg(keep_at=frozenset({first}), cut_at=first)
        render(engine, recipe, request, one)
        for second in range(first + 1, 8):
            two = Leg(keep_at=frozenset({second}), cut_at=second)
            pieced = RenderRequest(spec=request.spec, images=request.images, checkpoint=one.kept[0])
            render(engine, recipe, pieced, two)
            rest = RenderRequest(spec=request.spec, images=request.images, checkpoint=two.kept[0])
            clip = render(engine, recipe, rest, Leg())
            assert clip is not None
            assert np.array_equal(clip.frames, whole.frames), (first, second)


def _weights(factory: pytest.TempPathFactory) -> Path:
    return factory.getbasetemp() / "tiny-weights"


@dataclass
class Fleet:
    """Worker processes, one after the other, over one mailbox."""

    valkey: ValkeyProcess
    control: ControlPlane
    server: ObjectServer
    engine: str

    async def disturb(self, chance: random.Random, order: Order) -> ResumeFrom | None:
        """Render `order` until a random step, end the process in a random way; returns what can be gone on from."""
        process = start_worker_process(
            self.valkey.url, self.server, engine=self.engine, ZOETROPE_FAKE_STEP_S="0.05"
        )
        try:
            await self.control.order(order)
            step = chance.randint((order.resume.step if order.resume else 0), order.spec.num_inference_steps)
            await self.control.until(
                lambda: self.control.at_step(order, step) or self.control.has_report(order), f"step {step}"
            )
            ending = chance.choice(["kill", "stop and kill", "term", "preempt"])
            if ending == "term":
                process.send_signal(signal.SIGTERM)
            elif ending == "preempt":
                await self.control.wish(order.attempt_id, Wish.PREEMPT)
            elif ending == "stop and kill":
                process.send_signal(signal.SIGSTOP)
            if ending in ("term", "preempt"):
                report = await self.control.report_of(order)
                kept = None if report.outcome is Outcome.DONE or report.checkpoint is None else report
                return resume_from(self.server, kept) if kept is not None else order.resume
        finally:
            process.kill()
            process.wait()
        await self.control.read()
        status = self.control.status(order)
        if status is None or status.checkpoint is None:
            return order.resume
        return resume_from(self.server, status)


async def a_worker_that_dies_again_and_again(
    valkey: ValkeyProcess, control: ControlPlane, server: ObjectServer, *, engine: str, seed: int, deaths: int
) -> None:
    """One job over `deaths` processes that end somewhere, and one that doesn't."""
    chance = random.Random(seed)
    steps = 30 if engine == "fake" else 60
    size = 64 if engine == "fake" else FRAME_PX
    fleet = Fleet(valkey, control, server, engine)

    def attempt(fence: int, resume: ResumeFrom | None) -> Order:
        return make_order(
            server,
            f"{seed}-{fence}",
            job=f"pieces-{seed}",
            fence=fence,
            resume=resume,
            steps=steps,
            seed=seed,
            size=size,
            checkpoint_every_s=0.1,
        )

    resume: ResumeFrom | None = None
    for fence in range(1, deaths + 1):
        resume = await fleet.disturb(chance, attempt(fence, resume))
    last = attempt(deaths + 1, resume)
    whole = make_order(server, f"whole-{seed}", steps=steps, seed=seed, size=size)
    process = start_worker_process(valkey.url, server, engine=engine, ZOETROPE_FAKE_STEP_S="0.005")
    try:
        for order in (last, whole):
            await control.order(order)
            report = await control.report_of(order)
            assert report.outcome is Outcome.DONE, report.message
            if order is last:
                assert report.resumed_from_step == (resume.step if resume is not None else 0)
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
    assert server.objects[last.objects.clip.key] == server.objects[whole.objects.clip.key]


async def test_a_worker_that_dies_again_and_again_renders_the_same_clip(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer
) -> None:
    await a_worker_that_dies_again_and_again(valkey_process, control, server, engine="fake", seed=1, deaths=3)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("engine", ["fake", "diffusers"])
async def test_workers_that_die_again_and_again_render_the_same_clips(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer, engine: str, seed: int
) -> None:
    await a_worker_that_dies_again_and_again(
        valkey_process, control, server, engine=engine, seed=seed, deaths=6 if engine == "fake" else 3
    )
