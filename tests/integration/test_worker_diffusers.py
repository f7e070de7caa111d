"""The whole worker with a real diffusers pipeline of tiny random weights."""

import dataclasses
import hashlib
import io
import logging
from collections.abc import Mapping

import av
import numpy as np
import pytest
from PIL import Image

from backend.contracts import Conditioning, Outcome, Wish
from backend.recipes import Preview, Recipe, Weights
from backend.settings import Device
from gpu_worker.diffusers_engine import DiffusersEngine
from tests.contract.tiny_pipelines import tiny_recipe
from tests.integration.worker_rig import (
    ControlPlane,
    ObjectServer,
    ValkeyProcess,
    make_order,
    resume_from,
    worker_in_process,
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return tiny_recipe("ltx_condition", tmp_path_factory.mktemp("weights"), preview=Preview.LATENTS)


@pytest.fixture
def recipes(recipe: Recipe) -> Mapping[str, Recipe]:
    return {recipe.name: recipe}


async def test_a_preempted_and_conditioned_clip_equals_the_undisturbed_one(
    valkey_process: ValkeyProcess,
    control: ControlPlane,
    server: ObjectServer,
    recipe: Recipe,
    recipes: Mapping[str, Recipe],
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (80, 80), (240, 30, 30)).save(picture, format="PNG")
    server.objects["image"] = picture.getvalue()
    image = Conditioning(
        image=server.signed("image"), sha256=hashlib.sha256(picture.getvalue()).hexdigest(), frame_index=-1
    )
    common = {"recipe": recipe, "steps": 30, "num_frames": 9, "conditioning": (image,)}
    whole = make_order(server, "whole", **common)
    first = make_order(server, "first", job="cut", **common)
    engine = DiffusersEngine(Device.CPU)
    async with worker_in_process(valkey_process.url, server, engine, recipes=recipes) as loop:
        await loop.warm_up(recipe.name)
        await control.order(first)
        await control.until(lambda: control.at_step(first, 2), "step 2")
        await control.wish(first.attempt_id, Wish.PREEMPT)
        preempted = await control.report_of(first)
        assert preempted.outcome is Outcome.PREEMPTED
        assert 2 <= preempted.steps_done < 30
        resume = resume_from(server, preempted)
        second = make_order(server, "second", job="cut", fence=2, resume=resume, **common)
        await control.order(second)
        await control.order(whole)
        resumed = await control.report_of(second)
        undisturbed = await control.report_of(whole)
    assert (resumed.outcome, undisturbed.outcome) == (Outcome.DONE, Outcome.DONE)
    assert resumed.resumed_from_step == preempted.steps_done
    assert resumed.exact_resume
    assert server.objects[second.objects.clip.key] == server.objects[whole.objects.clip.key]
    assert recipe.name in control.heartbeats[-1].resident
    with av.open(io.BytesIO(server.objects[whole.objects.clip.key])) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array(frames).shape == (9, 64, 64, 3)


async def test_heartbeats_go_on_while_torch_computes(
    valkey_process: ValkeyProcess,
    control: ControlPlane,
    server: ObjectServer,
    recipe: Recipe,
    recipes: Mapping[str, Recipe],
) -> None:
    order = make_order(server, "beats", recipe=recipe, steps=150, num_frames=9)
    async with worker_in_process(valkey_process.url, server, DiffusersEngine(Device.CPU), recipes=recipes):
        await control.order(order)
        await control.report_of(order)
    steps = {status.step for beat in control.heartbeats for status in beat.attempts}
    assert len(steps) > 15


async def test_a_given_schedule_is_followed_without_a_warning(
    valkey_process: ValkeyProcess,
    control: ControlPlane,
    server: ObjectServer,
    recipe: Recipe,
    recipes: Mapping[str, Recipe],
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = DiffusersEngine(Device.CPU)
    order = make_order(server, "silent", recipe=recipe, num_frames=9)
    logger = logging.getLogger("diffusers.schedulers.scheduling_flow_match_euler_discrete")
    logger.addHandler(caplog.handler)
    # The engine makes diffusers silent; this warning must not be there to be silenced.
    logger.setLevel(logging.WARNING)
    try:
        async with worker_in_process(valkey_process.url, server, engine, recipes=recipes):
            await control.order(order)
            assert (await control.report_of(order)).outcome is Outcome.DONE
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(logging.NOTSET)
    assert [record.getMessage() for record in caplog.records if record.name == logger.name] == []


async def test_only_recipes_whose_weights_are_here_are_offered(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer, recipe: Recipe
) -> None:
    recipes = {recipe.name: recipe, "absent": _without_weights(recipe)}
    async with worker_in_process(valkey_process.url, server, DiffusersEngine(Device.CPU), recipes=recipes):
        await control.until(lambda: bool(control.heartbeats))
    assert control.heartbeats[-1].recipes == (recipe.name,)


def _without_weights(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, name="absent", weights=Weights(folder="/nowhere"))
