"""The worker's loop with the fake engine, against a real Valkey and an object server."""

import dataclasses
import hashlib
import io

import av
import numpy as np
import pytest
from PIL import Image

from backend.contracts import (
    PREVIEW_SIDE_PX,
    AttemptPhase,
    Conditioning,
    FailureCause,
    OrderObjects,
    Outcome,
    Report,
    Wish,
)
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.fake_engine import FakeEngine, FakeSettings, Fault
from gpu_worker.loop import MOST_PASSES_HELD
from gpu_worker.objects import RetryPolicy
from tests.integration.worker_rig import (
    QUICK,
    ControlPlane,
    ObjectServer,
    ValkeyProcess,
    make_order,
    resume_from,
    worker_in_process,
)


def fake(**settings: object) -> FakeEngine:
    return FakeEngine(FakeSettings.model_validate({"step_s": 0.02, **settings}))


async def test_an_order_becomes_a_clip_that_plays(control: ControlPlane, server: ObjectServer) -> None:
    order = make_order(server, "plays")
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        report = await control.report_of(order)

    assert (report.outcome, report.steps_done) == (Outcome.DONE, 6)
    by_kind = {artifact.kind: artifact for artifact in report.artifacts}
    assert set(by_kind) == {"video", "thumbnail", "spritesheet"}
    for artifact in report.artifacts:
        body = server.objects[artifact.key]
        assert hashlib.sha256(body).hexdigest() == artifact.sha256
        assert len(body) == artifact.size_bytes
    clip = server.objects[order.objects.clip.key]
    with av.open(io.BytesIO(clip)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array(frames).shape == (17, 64, 64, 3)
    assert clip.find(b"moov") < clip.find(b"mdat")
    assert by_kind["video"].duration_s == pytest.approx(17 / 8)
    with Image.open(io.BytesIO(server.objects[order.objects.spritesheet.key])) as sheet:
        assert sheet.size == (by_kind["spritesheet"].width, by_kind["spritesheet"].height) == (5 * 64, 4 * 64)
    assert by_kind["spritesheet"].columns == 5
    assert Report.model_validate_json(server.objects[order.objects.report.key]) == report


async def test_heartbeats_name_the_attempt_and_its_steps(control: ControlPlane, server: ObjectServer) -> None:
    order = make_order(server, "steps", steps=12)
    async with worker_in_process(control.redis_url, server, fake(step_s=0.05)):
        await control.order(order)
        await control.report_of(order)
    statuses = [status for beat in control.heartbeats for status in beat.attempts]
    steps = [status.step for status in statuses]
    assert steps == sorted(steps)
    assert len(set(steps)) > 6
    assert AttemptPhase.DENOISING in {status.phase for status in statuses}
    assert [beat.seq for beat in control.heartbeats] == sorted({beat.seq for beat in control.heartbeats})
    assert max(status.preview_version for status in statuses) > 0
    assert await control._redis.sismember("zoetrope:workers", control.worker_id)


async def test_previews_are_too_small_to_recognise(control: ControlPlane, server: ObjectServer) -> None:
    order = make_order(server, "preview", steps=12)
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        await control.report_of(order)
    with Image.open(io.BytesIO(server.objects[order.objects.preview.key])) as preview:
        assert preview.format == "WEBP"
        assert max(preview.size) == PREVIEW_SIDE_PX


async def test_a_repeated_order_runs_once(control: ControlPlane, server: ObjectServer) -> None:
    order = make_order(server, "twice")
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        await control.order(order)
        await control.report_of(order)
        await control.until(lambda: control.status(order) is None, "the attempt to be forgotten")
        await control.order(order)
        other = make_order(server, "other")
        await control.order(other)
        await control.report_of(other)
    assert server.puts.count(order.objects.clip.key) == 1


async def test_an_order_sent_again_brings_urls_that_last_for_the_rest_of_the_run(
    control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "renewed", steps=40)
    renewed = order.model_copy(
        update={
            "objects": OrderObjects(
                **{name: server.signed(signed.key, "sig=2") for name, signed in order.objects}
            )
        }
    )
    async with worker_in_process(control.redis_url, server, fake(step_s=0.05)):
        await control.order(order)
        await control.until(lambda: control.at_step(order, 2))
        server.ended.add("sig=1")
        await control.order(renewed)
        report = await control.report_of(order)
    assert report.outcome is Outcome.DONE
    assert {order.objects.clip.key, order.objects.report.key} <= set(server.puts)


async def test_a_wish_to_stop_ends_the_run_at_the_next_step(
    control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "stop", steps=500)
    async with worker_in_process(control.redis_url, server, fake(step_s=0.05)):
        await control.order(order)
        await control.until(lambda: control.at_step(order, 3))
        await control.wish(order.attempt_id, Wish.STOP)
        before = control.status(order)
        assert before is not None
        report = await control.report_of(order)
        following = make_order(server, "after-stop")
        await control.order(following)
        assert (await control.report_of(following)).outcome is Outcome.DONE
    assert report.outcome is Outcome.STOPPED
    assert before.step <= report.steps_done <= before.step + 4
    assert order.objects.clip.key not in server.objects


async def test_a_waiting_order_can_be_stopped_too(control: ControlPlane, server: ObjectServer) -> None:
    first = make_order(server, "long", steps=300)
    second = make_order(server, "waiting")
    async with worker_in_process(control.redis_url, server, fake(step_s=0.02)):
        await control.order(first)
        await control.until(lambda: control.at_step(first, 1))
        await control.order(second)
        await control.until(lambda: control.status(second) is not None)
        await control.wish(second.attempt_id, Wish.STOP)
        report = await control.report_of(second)
        assert not control.has_report(first)
        await control.wish(first.attempt_id, Wish.STOP)
        await control.report_of(first)
    assert (report.outcome, report.steps_done) == (Outcome.STOPPED, 0)


async def test_a_report_is_sent_until_it_is_acknowledged(control: ControlPlane, server: ObjectServer) -> None:
    order = make_order(server, "again")
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        await control.until(lambda: len(control.reports) >= 3, "three sendings")
        await control.acknowledge(order.attempt_id)
        await control.until(lambda: control.status(order) is None, "silence on the attempt")
        sent = len(control.reports)
        beats = len(control.heartbeats)
        await control.until(lambda: len(control.heartbeats) > beats + 4)
    assert len(control.reports) == sent
    assert len({report.model_dump_json() for report in control.reports}) == 1


async def test_a_reported_attempt_is_named_in_every_heartbeat_until_it_is_acknowledged(
    control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "named")
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        await control.until(lambda: control.phase(order) is AttemptPhase.REPORTED, "the phase reported")
        named_from = len(control.heartbeats) - 1
        # A control plane that is slow: all that keeps the attempt's lease is that it goes on being named.
        await control.until(lambda: len(control.heartbeats) > named_from + 8)
        unacknowledged = control.heartbeats[named_from:]
        await control.acknowledge(order.attempt_id)
        await control.until(lambda: control.status(order) is None, "silence on the attempt")
    assert [[status.phase for status in beat.attempts] for beat in unacknowledged] == [
        [AttemptPhase.REPORTED]
    ] * len(unacknowledged)
    assert {status.step for beat in unacknowledged for status in beat.attempts} == {6}


async def test_a_report_that_nobody_ever_acknowledges_is_given_up(
    control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "unheard")
    pace = dataclasses.replace(QUICK, report_again_s=0.05, report_sends=4)
    async with worker_in_process(control.redis_url, server, fake(), pace=pace):
        await control.order(order)
        await control.until(lambda: control.status(order) is not None)
        await control.until(lambda: control.status(order) is None, "silence on the attempt")
    assert len(control.reports) == 4
    # With its lease over, the reaper finds this one.
    assert Report.model_validate_json(server.objects[order.objects.report.key]) == control.reports[0]


async def test_unacknowledged_reports_take_no_place_from_new_orders(
    control: ControlPlane, server: ObjectServer
) -> None:
    orders = [make_order(server, f"held-{number}", steps=1) for number in range(MOST_PASSES_HELD + 2)]
    async with worker_in_process(control.redis_url, server, fake()):
        for order in orders:
            await control.order(order)
            await control.until(lambda order=order: control.has_report(order), order.attempt_id)


async def test_a_preempted_run_goes_on_bit_for_bit(control: ControlPlane, server: ObjectServer) -> None:
    whole = make_order(server, "whole", steps=30)
    first = make_order(server, "first", steps=30, job="cut")
    async with worker_in_process(control.redis_url, server, fake(step_s=0.02)):
        await control.order(whole)
        await control.report_of(whole)
        await control.order(first)
        await control.until(lambda: control.at_step(first, 5))
        await control.wish(first.attempt_id, Wish.PREEMPT)
        preempted = await control.report_of(first)
        assert preempted.outcome is Outcome.PREEMPTED
        assert preempted.checkpoint is not None
        assert preempted.checkpoint.step == preempted.steps_done >= 5
        resume = resume_from(server, preempted)
        second = make_order(server, "second", steps=30, job="cut", fence=2, resume=resume)
        await control.order(second)
        report = await control.report_of(second)
    assert report.outcome is Outcome.DONE
    assert report.resumed_from_step == preempted.steps_done
    assert server.objects[second.objects.clip.key] == server.objects[whole.objects.clip.key]


async def test_a_checkpoint_of_another_identity_starts_again(
    control: ControlPlane, server: ObjectServer
) -> None:
    first = make_order(server, "theirs", steps=40, job="moved")
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(first)
        await control.until(lambda: control.at_step(first, 3))
        await control.wish(first.attempt_id, Wish.PREEMPT)
        preempted = await control.report_of(first)
    resume = resume_from(server, preempted)
    second = make_order(server, "ours", steps=40, job="moved", fence=2, resume=resume)
    async with worker_in_process(control.redis_url, server, fake(hardware_class="other")):
        await control.order(second)
        report = await control.report_of(second)
    assert (report.outcome, report.resumed_from_step) == (Outcome.DONE, 0)


async def test_a_checkpoint_whose_bytes_are_not_the_ones_named_is_left_aside(
    control: ControlPlane, server: ObjectServer
) -> None:
    first = make_order(server, "named", steps=40, job="swapped")
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(first)
        await control.until(lambda: control.at_step(first, 3))
        await control.wish(first.attempt_id, Wish.PREEMPT)
        preempted = await control.report_of(first)
        resume = resume_from(server, preempted)
        key = resume.checkpoint.key
        other = dataclasses.replace(Checkpoint.from_bytes(server.objects[key]), step=39)
        server.objects[key] = other.to_bytes()
        second = make_order(server, "given", steps=40, job="swapped", fence=2, resume=resume)
        await control.order(second)
        report = await control.report_of(second)
    assert (report.outcome, report.resumed_from_step) == (Outcome.DONE, 0)


async def test_an_order_for_another_worker_is_not_carried_out(
    control: ControlPlane, server: ObjectServer
) -> None:
    theirs, own = make_order(server, "theirs", worker_id="w2"), make_order(server, "own")
    async with worker_in_process(control.redis_url, server, fake()) as loop:
        loop.accept(theirs.model_dump(mode="json"))
        loop.accept(own.model_dump(mode="json"))
        await control.report_of(own)
    named = {status.attempt_id for beat in control.heartbeats for status in beat.attempts}
    assert named == {own.attempt_id}
    assert not control.has_report(theirs)


async def test_no_more_orders_are_held_than_a_worker_can_look_after(
    control: ControlPlane, server: ObjectServer
) -> None:
    orders = [make_order(server, f"many-{number}", steps=400) for number in range(MOST_PASSES_HELD + 2)]
    async with worker_in_process(control.redis_url, server, fake()) as loop:
        for order in orders:
            loop.accept(order.model_dump(mode="json"))
        taken = orders[:MOST_PASSES_HELD]
        await control.until(lambda: control.status(taken[-1]) is not None)
        named = [status.attempt_id for status in control.heartbeats[-1].attempts]
        for order in taken:
            await control.wish(order.attempt_id, Wish.STOP)
        for order in taken:
            await control.report_of(order)
    assert named == [order.attempt_id for order in taken]


async def test_a_newer_attempt_of_a_job_stops_the_older_and_never_the_other_way_round(
    control: ControlPlane, server: ObjectServer
) -> None:
    newer = make_order(server, "newer-attempt", steps=30, job="twice", fence=3)
    older = make_order(server, "older-attempt", steps=400, job="twice", fence=2)
    late = make_order(server, "late-attempt", steps=2, job="twice", fence=1)
    async with worker_in_process(control.redis_url, server, fake()) as loop:
        loop.accept(older.model_dump(mode="json"))
        await control.until(lambda: control.at_step(older, 2))
        loop.accept(newer.model_dump(mode="json"))
        loop.accept(late.model_dump(mode="json"))
        stopped, done = await control.report_of(older), await control.report_of(newer)
    assert (stopped.outcome, done.outcome) == (Outcome.STOPPED, Outcome.DONE)
    assert stopped.steps_done < 400
    # Nobody is to find a report on it beside a clip that there isn't.
    assert older.objects.report.key not in server.objects
    assert newer.objects.report.key in server.objects


async def test_a_stopped_attempt_writes_nothing_more(control: ControlPlane, server: ObjectServer) -> None:
    order = make_order(server, "silenced", steps=400, checkpoint_every_s=0.1)
    following = make_order(server, "after-it", steps=50)
    async with worker_in_process(control.redis_url, server, fake()):
        server.status = 503
        await control.order(order)
        # Its checkpoint and its preview are on their way by now, and wait for storage.
        await control.until(lambda: control.at_step(order, 20))
        await control.wish(order.attempt_id, Wish.STOP)
        assert (await control.report_of(order)).outcome is Outcome.STOPPED
        server.status = None
        await control.order(following)
        assert (await control.report_of(following)).outcome is Outcome.DONE
    own = order.objects.clip.key.rpartition("/")[0]
    assert [key for key in server.puts if key.startswith(own + "/")] == []


async def test_checkpoints_alternate_and_are_named_once_durable(
    control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "kept", steps=60, checkpoint_every_s=0.1)
    async with worker_in_process(control.redis_url, server, fake(step_s=0.03)):
        await control.order(order)
        await control.report_of(order)
    kept = [s.checkpoint for beat in control.heartbeats for s in beat.attempts if s.checkpoint is not None]
    assert {ref.key for ref in kept} == {order.objects.checkpoint_a.key, order.objects.checkpoint_b.key}
    assert all(ref.key in server.puts for ref in kept)
    assert [ref.step for ref in kept] == sorted(ref.step for ref in kept)


async def test_the_job_survives_a_valkey_that_goes_away(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "deaf", steps=40)
    async with worker_in_process(control.redis_url, server, fake(step_s=0.05)):
        await control.order(order)
        await control.until(lambda: control.at_step(order, 2))
        valkey_process.stop()
        try:
            await control.until(
                lambda: order.objects.report.key in server.objects, "the report beside the clip"
            )
        finally:
            valkey_process.start()
        report = await control.report_of(order)
        following = make_order(server, "heard-again")
        await control.order(following)
        assert (await control.report_of(following)).outcome is Outcome.DONE
    assert report.outcome is Outcome.DONE


async def test_uploads_wait_for_storage_to_come_back(control: ControlPlane, server: ObjectServer) -> None:
    order = make_order(server, "storage")
    server.status = 503
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        await control.until(lambda: control.phase(order) is AttemptPhase.UPLOADING)
        beats = len(control.heartbeats)
        await control.until(lambda: len(control.heartbeats) > beats + 3)
        server.status = None
        report = await control.report_of(order)
    assert report.outcome is Outcome.DONE
    assert order.objects.clip.key in server.objects


async def test_storage_that_refuses_is_a_storage_error(control: ControlPlane, server: ObjectServer) -> None:
    order = make_order(server, "refused")
    server.status = 403
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        report = await control.report_of(order)
    assert (report.outcome, report.cause) == (Outcome.FAILED, FailureCause.STORAGE_ERROR)
    assert "sig=" not in report.message


async def test_storage_that_stays_away_is_a_storage_error(
    control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "away")
    server.status = 503
    retry = RetryPolicy(give_up_after_s=0.3, first_delay_s=0.05)
    pace = dataclasses.replace(QUICK, report_object_patience_s=0.2)
    async with worker_in_process(control.redis_url, server, fake(), retry=retry, pace=pace):
        await control.order(order)
        report = await control.report_of(order)
    assert (report.outcome, report.cause) == (Outcome.FAILED, FailureCause.STORAGE_ERROR)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.NAN, FailureCause.NOT_A_NUMBER),
        (Fault.OOM, FailureCause.OUT_OF_MEMORY),
        (Fault.RAISE, FailureCause.ENGINE_ERROR),
    ],
)
async def test_an_engine_that_fails_says_why_and_goes_on(
    control: ControlPlane, server: ObjectServer, fault: Fault, cause: FailureCause
) -> None:
    bad = make_order(server, f"bad-{fault}", steps=5)
    short = make_order(server, f"good-{fault}", steps=2)
    async with worker_in_process(control.redis_url, server, fake(fault=fault)):
        await control.order(bad)
        await control.order(short)
        report = await control.report_of(bad)
        assert (report.outcome, report.cause, report.steps_done) == (Outcome.FAILED, cause, 2)
        assert (await control.report_of(short)).outcome is Outcome.DONE


@pytest.mark.parametrize("body", [b"no picture", b"\x89PNG\r\n\x1a\n torn"])
async def test_a_bad_conditioning_image_is_bad_input(
    control: ControlPlane, server: ObjectServer, body: bytes
) -> None:
    server.objects["image"] = body
    image = Conditioning(image=server.signed("image"), sha256=hashlib.sha256(body).hexdigest())
    order = make_order(server, "bad-image", conditioning=(image,))
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        report = await control.report_of(order)
    assert (report.outcome, report.cause) == (Outcome.FAILED, FailureCause.BAD_INPUT)


async def test_swapped_image_bytes_are_bad_input(control: ControlPlane, server: ObjectServer) -> None:
    server.objects["image"] = _png((255, 0, 0))
    image = Conditioning(image=server.signed("image"), sha256=hashlib.sha256(_png((0, 0, 255))).hexdigest())
    order = make_order(server, "swapped", conditioning=(image,))
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        report = await control.report_of(order)
    assert (report.outcome, report.cause) == (Outcome.FAILED, FailureCause.BAD_INPUT)


async def test_a_conditioning_image_reaches_the_frame_it_names(
    control: ControlPlane, server: ObjectServer
) -> None:
    server.objects["image"] = body = _png((250, 10, 10))
    sha256 = hashlib.sha256(body).hexdigest()
    image = Conditioning(image=server.signed("image"), sha256=sha256, frame_index=-1)
    order = make_order(server, "image", conditioning=(image,))
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        assert (await control.report_of(order)).outcome is Outcome.DONE
    with av.open(io.BytesIO(server.objects[order.objects.clip.key])) as container:
        last = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][-1]
    assert np.abs(last[3, 3].astype(int) - [250, 10, 10]).max() < 40


async def test_an_unreadable_order_is_reported_and_harms_nothing(
    control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "torn")
    torn = order.model_dump(mode="json")
    del torn["spec"]["prompt"]
    good = make_order(server, "whole-order")
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order("not even JSON")
        await control.order(torn)
        await control.order(good)
        report = await control.report_of(order)
        assert (await control.report_of(good)).outcome is Outcome.DONE
    assert (report.outcome, report.cause) == (Outcome.FAILED, FailureCause.BAD_ORDER)
    assert "spec.prompt" in report.message


async def test_a_revision_that_this_worker_lacks_is_model_unavailable(
    control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "newer").model_copy(update={"recipe_revision": "9999"})
    async with worker_in_process(control.redis_url, server, fake()):
        await control.order(order)
        report = await control.report_of(order)
    assert (report.outcome, report.cause) == (Outcome.FAILED, FailureCause.MODEL_UNAVAILABLE)


async def test_an_engine_that_hangs_and_is_told_to_stop_ends_the_process(
    control: ControlPlane, server: ObjectServer
) -> None:
    engine, stuck = fake(fault=Fault.HANG, fault_step=2), []
    order = make_order(server, "hangs")
    pace = dataclasses.replace(QUICK, stuck_after_s=0.2)
    async with worker_in_process(
        control.redis_url, server, engine, pace=pace, on_stuck=lambda: stuck.append(True)
    ):
        await control.order(order)
        await control.until(lambda: control.at_step(order, 1))
        await control.until(lambda: len(control.heartbeats) > 5)
        assert not stuck
        await control.wish(order.attempt_id, Wish.STOP)
        await control.until(lambda: bool(stuck), "the loop to give the engine up")
        engine._never.set()


def _png(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (90, 60), colour).save(out, format="PNG")
    return out.getvalue()
