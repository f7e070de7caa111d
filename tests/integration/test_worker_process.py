"""The worker as a real process: signals, death, and going on after it."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from backend.contracts import Outcome
from backend.scratch import PREFIX, YOUNG_S
from tests.integration.worker_rig import (
    ControlPlane,
    ObjectServer,
    ValkeyProcess,
    make_order,
    resume_from,
    start_worker_process,
    wait_until_sync,
)


async def test_term_hands_the_job_back_and_the_next_worker_goes_on(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer
) -> None:
    first = make_order(server, "handed", steps=100, job="handed")
    waiting = make_order(server, "waiting")
    process = start_worker_process(valkey_process.url, server, ZOETROPE_FAKE_STEP_S="0.1")
    try:
        await control.order(first)
        await control.until(lambda: control.at_step(first, 3), "step 3")
        await control.order(waiting)
        await control.until(lambda: control.status(waiting) is not None)
        process.send_signal(signal.SIGTERM)
        handed_back = await control.report_of(first)
        assert (await control.report_of(waiting)).outcome is Outcome.HANDED_BACK
        await control.until(lambda: process.poll() is not None, "the worker's exit")
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
    assert handed_back.outcome is Outcome.HANDED_BACK
    assert handed_back.checkpoint is not None
    assert handed_back.checkpoint.step == handed_back.steps_done < 100
    assert control.heartbeats[-1].draining

    resume = resume_from(server, handed_back)
    second = make_order(server, "goes-on", steps=100, job="handed", fence=2, resume=resume)
    process = start_worker_process(valkey_process.url, server)
    try:
        await control.order(second)
        report = await control.report_of(second)
    finally:
        process.kill()
        process.wait()
    assert (report.outcome, report.resumed_from_step) == (Outcome.DONE, handed_back.steps_done)


async def test_a_killed_run_goes_on_from_its_durable_checkpoint(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer
) -> None:
    first = make_order(server, "killed", steps=40, job="killed", checkpoint_every_s=0.2)
    process = start_worker_process(valkey_process.url, server, ZOETROPE_FAKE_STEP_S="0.1")
    try:
        await control.order(first)
        await control.until(lambda: _kept(control), "a durable checkpoint")
    finally:
        process.kill()
        process.wait()
    status = control.status(first)
    assert status is not None
    resume = resume_from(server, status)
    second = make_order(server, "risen", steps=40, job="killed", fence=2, resume=resume)
    whole = make_order(server, "undisturbed", steps=40)
    process = start_worker_process(valkey_process.url, server, ZOETROPE_FAKE_STEP_S="0.01")
    try:
        await control.order(second)
        await control.order(whole)
        report = await control.report_of(second)
        await control.report_of(whole)
    finally:
        process.kill()
        process.wait()
    assert report.resumed_from_step == resume.step
    assert server.objects[second.objects.clip.key] == server.objects[whole.objects.clip.key]


def test_a_worker_begins_by_sweeping_what_a_killed_one_left(
    valkey_process: ValkeyProcess, server: ObjectServer, tmp_path: Path
) -> None:
    left = tmp_path / (PREFIX + "left")
    left.mkdir(mode=0o700)
    (left / "clip.mp4").write_bytes(b"clip")
    then = time.time() - 2 * YOUNG_S
    os.utime(left, (then, then))
    process = start_worker_process(valkey_process.url, server, TMPDIR=str(tmp_path))
    try:
        wait_until_sync(lambda: not left.exists())
    finally:
        process.kill()
        process.wait()


async def test_a_second_signal_exits_at_once(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "slow", steps=5)
    process = start_worker_process(valkey_process.url, server, ZOETROPE_FAKE_STEP_S="30")
    try:
        await control.order(order)
        await control.until(lambda: control.status(order) is not None)
        process.send_signal(signal.SIGINT)
        await control.until(lambda: control.heartbeats[-1].draining, "draining")
        process.send_signal(signal.SIGINT)
        await control.until(lambda: process.poll() is not None, "the worker's exit")
        assert process.returncode == 130
    finally:
        process.kill()
        process.wait()


async def test_a_signal_is_obeyed_while_the_engine_is_still_being_made(
    valkey_process: ValkeyProcess, server: ObjectServer
) -> None:
    process = start_worker_process(valkey_process.url, server, ZOETROPE_FAKE_START_S="300")
    try:
        wait_until_sync(lambda: _obeys_term(process.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()


async def test_a_hung_engine_does_not_keep_the_process_from_ending(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer
) -> None:
    order = make_order(server, "hung", steps=5)
    process = start_worker_process(
        valkey_process.url, server, ZOETROPE_FAKE_FAULT="hang", ZOETROPE_FAKE_FAULT_STEP="2"
    )
    try:
        await control.order(order)
        await control.until(lambda: control.at_step(order, 1))
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        report = await control.report_of(order)
        await control.until(lambda: process.poll() is not None, "the worker's exit")
        assert time.monotonic() - signalled < 15
    finally:
        process.kill()
        process.wait()
    assert (report.outcome, report.steps_done) == (Outcome.HANDED_BACK, 1)


async def test_a_worker_started_before_valkey_finds_it(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer
) -> None:
    valkey_process.stop()
    process = start_worker_process(valkey_process.url, server)
    try:
        valkey_process.start()
        order = make_order(server, "early")
        await control.order(order)
        assert (await control.report_of(order)).outcome is Outcome.DONE
    finally:
        process.kill()
        process.wait()


def _obeys_term(pid: int) -> bool:
    """Whether the process has a handler for TERM by now; before, the signal just kills it."""
    if sys.platform != "linux":
        pytest.skip("what a process handles is read from /proc")
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def _kept(control: ControlPlane) -> bool:
    return any(s.checkpoint is not None for beat in control.heartbeats[-1:] for s in beat.attempts)
