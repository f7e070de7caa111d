import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from backend.child_process import is_alive
from backend.make_parent import MakeParent
from backend.parts import PARTS
from backend.runtime import read_runtime
from backend.settings import Settings
from backend.supervisor import Supervisor, _Running, _StopRequestedError, bound_logs

STUDIO = Path(__file__).with_name("supervised_studio.py")
TIMEOUT_S = 60.0
READY = "clips can be made"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _obey_signals() -> None:
    """As in the foreground: a run in the background of a script inherits an ignored INT."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _ignore_signals() -> None:
    """As under `nohup … &` in a script."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class StudioRun:
    """A supervisor in a process of its own, and what it printed so far."""

    def __init__(
        self, data_dir: Path, port: int, environment: Callable[..., dict[str, str]], **settings: str
    ) -> None:
        self.data_dir = data_dir
        self._output = data_dir.parent / f"output-{time.monotonic_ns()}"
        command = [sys.executable, str(STUDIO), *settings.pop("arguments", "").split()]
        begin = _ignore_signals if settings.pop("in_background", None) else _obey_signals
        if settings.pop("under_make", None):
            makefile = data_dir.parent / "Makefile"
            makefile.write_text(f"run:\n\t@exec {' '.join(command)}\n")
            command = ["make", "-f", str(makefile), "run"]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=environment(data_dir=str(data_dir), port=str(port), **settings)
                | {"PYTHONPATH": str(STUDIO.parent.parent.parent)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=begin,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str) -> "StudioRun":
        wait_until(lambda: text in self.output or self.process.poll() is not None, lambda: self.output)
        assert text in self.output, self.output
        return self

    def family(self) -> list[psutil.Process]:
        """Every process it started, the guardian and the grandchildren included."""
        family: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return family

    def part(self, name: str) -> int:
        runtime = read_runtime(self.data_dir)
        assert runtime is not None
        return runtime.parts[name].pid

    def named(self, name: str) -> psutil.Process:
        return next(process for process in self.family() if process.name().startswith(name))


def wait_until(condition: Callable[[], bool], explain: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


def all_gone(family: list[psutil.Process]) -> bool:
    return not any(is_alive(process) for process in family)


Start = Callable[..., StudioRun]


@pytest.fixture
def start(short_tmp: Path, studio_environment: Callable[..., dict[str, str]]) -> Iterator[Start]:
    runs: list[StudioRun] = []
    port = free_port()

    def begin(**settings: str) -> StudioRun:
        run = StudioRun(short_tmp / "data", int(settings.pop("port", port)), studio_environment, **settings)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.terminate()
            try:
                run.process.wait(30)
            except subprocess.TimeoutExpired:
                run.process.kill()
                run.process.wait()
    data = short_tmp / "data" / "postgres"
    if data.is_symlink():
        shutil.rmtree(data.resolve(), ignore_errors=True)


def test_parts_come_up_in_lines_then_the_address_and_the_first_sign_in(start: Start) -> None:
    run = start().wait_for("sign-in/once")
    lines = [line.split()[0] for line in run.output.splitlines() if line]
    assert lines[:2] == ["postgres", "valkey"]
    assert {"web", "worker", "moderator"} <= set(lines)
    assert lines.index("database") < lines.index("web"), (
        "nothing that needs the database starts before it is there"
    )
    run.wait_for(READY)
    assert lines.index("web") < lines.index("Zoetrope")
    assert run.output.index(READY) > run.output.rindex(" up after ")
    told_s = [float(figure) for figure in re.findall(r"after ([\d.]+) s", run.output)]
    assert told_s == sorted(told_s), run.output
    runtime = run.data_dir / "runtime.json"
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_process_and_leaves_none(start: Start, number: signal.Signals) -> None:
    run = start().wait_for(READY)
    family = run.family()
    assert len(family) >= 7
    run.process.send_signal(number)
    assert run.process.wait(30) == 0
    assert all_gone(family)
    assert (run.data_dir / "handed-back").exists()
    assert read_runtime(run.data_dir) is None


def test_in_the_background_of_a_script_int_stops_it_and_nohup_holds(start: Start) -> None:
    run = start(in_background="1").wait_for(READY)
    run.process.send_signal(signal.SIGHUP)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(30) == 0
    assert "stopping (SIGINT)" in run.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@on_linux
def test_a_signal_to_the_make_that_runs_it_stops_the_studio_too(start: Start, number: signal.Signals) -> None:
    run = start(under_make="1").wait_for(READY)
    family = run.family()
    run.process.send_signal(number)
    run.process.wait(30)
    wait_until(lambda: all_gone(family))
    assert (run.data_dir / "handed-back").exists()


def test_a_signal_during_the_start_stops_what_was_started(start: Start) -> None:
    run = start().wait_for("valkey")
    family = run.family()
    run.process.terminate()
    assert run.process.wait(30) == 0
    assert all_gone(family)


def test_a_killed_supervisor_takes_its_children_along_and_the_next_start_works(start: Start) -> None:
    run = start().wait_for(READY)
    family = run.family()
    run.process.kill()
    run.process.wait()
    wait_until(lambda: all_gone(family), lambda: [process for process in family if is_alive(process)])
    start().wait_for(READY)


@on_linux
def test_children_die_even_when_supervisor_and_guardian_are_killed_at_once(start: Start) -> None:
    run = start().wait_for(READY)
    family = run.family()
    guardian = next(process for process in family if "guardian.py" in " ".join(process.cmdline()))
    grandchild = int((run.data_dir / "grandchild").read_text())
    guardian.kill()
    run.process.kill()
    run.process.wait()
    # A grandchild has nobody left to be told by; the next start ends its group with its parent's.
    wait_until(lambda: all_gone([process for process in family if process.pid != grandchild]))
    psutil.Process(grandchild).kill()
    start().wait_for(READY)


def test_a_part_that_dies_starts_again_later_each_time(start: Start) -> None:
    run = start().wait_for(READY)
    assert "moderator  stopped with status 1, starts again in 0.5 s: RuntimeError: not yet" in run.output
    assert "moderator  stopped with status 1, starts again in 1 s" in run.output
    worker = run.part("worker")
    grandchild = psutil.Process(int((run.data_dir / "grandchild").read_text()))
    os.kill(worker, signal.SIGKILL)
    run.wait_for("worker     was ended by SIGKILL")
    wait_until(lambda: run.output.count("worker     up after") == 2, lambda: run.output)
    assert not is_alive(grandchild)
    assert run.part("worker") != worker


def test_a_part_that_hangs_is_killed_and_starts_again(start: Start) -> None:
    run = start(arguments="soon-silent").wait_for(READY)
    hung = psutil.Process(run.part("moderator"))
    hung.suspend()
    run.wait_for("moderator  silent for 2 s, is killed")
    run.wait_for("moderator  was ended by SIGKILL, starts again in ")
    wait_until(lambda: run.output.count("moderator  up after") == 2, lambda: run.output)
    assert not is_alive(hung)
    assert run.part("moderator") != hung.pid
    assert run.output.count("is killed") == 1, "the worker, which announces no heartbeat, is left alone"


def test_a_signal_that_comes_while_make_is_looked_at_is_not_lost(tmp_path: Path) -> None:
    supervisor = Supervisor(settings=Settings(data_dir=tmp_path), say=lambda _line: None, parts=())

    class Make(MakeParent):
        def stop_asked(self) -> None:
            supervisor._request_stop(signal.SIGTERM)

    supervisor._make = Make()
    with pytest.raises(_StopRequestedError):
        supervisor._stop_if_asked()


def test_nobody_is_called_silent_by_a_supervisor_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(
        "backend.supervisor.time", SimpleNamespace(monotonic=lambda: now_s, sleep=lambda _: None)
    )
    said: list[str] = []
    supervisor = Supervisor(settings=Settings(data_dir=tmp_path), say=said.append, parts=())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs, subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        ours.setblocking(False)
        part = next(part for part in PARTS if part.name == "moderator")
        running = _Running(part=part, process=process, announcements=ours, started_at_s=now_s, up=True)
        supervisor._running["moderator"] = running
        theirs.send(b"WATCHDOG=1")
        supervisor._tick()
        now_s += 3600  # the whole machine stood still: neither could speak nor hear
        supervisor._tick()
        assert said == []
        for _ in range(31):
            now_s += 2
            supervisor._tick()
        assert said == ["moderator  silent for 62 s, is killed"]
        process.wait(10)


@pytest.mark.parametrize("server", ["postgres", "valkey"])
def test_a_killed_server_comes_up_again(start: Start, server: str) -> None:
    run = start().wait_for(READY)
    run.named(server).kill()
    run.wait_for(f"{server:<10} up again")


def test_a_second_studio_over_the_same_data_says_so(start: Start) -> None:
    start().wait_for(READY)
    second = start(port=str(free_port()))
    assert second.process.wait(30) == 1
    assert "already uses" in second.output
    assert len(second.output.strip().splitlines()) == 1


def test_a_taken_port_is_one_line_with_its_remedy(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        run = start(port=str(other.getsockname()[1]))
        assert run.process.wait(30) == 1
    assert "set ZOETROPE_PORT" in run.output
    assert len(run.output.strip().splitlines()) == 1


def test_a_database_that_cannot_be_reached_is_one_line_without_its_password(start: Start) -> None:
    run = start(database_url=f"postgresql://zoe:secret@127.0.0.1:{free_port()}/zoetrope")
    assert run.process.wait(30) == 1
    assert "ZOETROPE_DATABASE_URL" in run.output
    assert "secret" not in run.output
    assert len(run.output.strip().splitlines()) == 1


def test_a_valkey_that_cannot_be_reached_is_one_line(start: Start) -> None:
    run = start(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert run.process.wait(60) == 1
    assert "ZOETROPE_REDIS_URL" in run.output.strip().splitlines()[-1]


def test_storage_that_cannot_be_written_is_one_line_before_anything_starts(start: Start) -> None:
    run = start(storage_url="/proc/nostorage")
    assert run.process.wait(30) == 1
    assert "/proc/nostorage" in run.output
    assert "set ZOETROPE_STORAGE_URL" in run.output
    assert len(run.output.strip().splitlines()) == 1


def test_a_bad_setting_is_one_line(start: Start) -> None:
    run = start(device="abacus")
    assert run.process.wait(30) == 78
    assert "ZOETROPE_DEVICE" in run.output
    assert len(run.output.strip().splitlines()) == 1


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine may have a GPU")
def test_a_device_that_is_not_there_is_one_line_before_anything_starts(start: Start) -> None:
    run = start(device="cuda")
    assert run.process.wait(30) == 78
    assert "ZOETROPE_DEVICE=cuda" in run.output
    assert "set ZOETROPE_DEVICE=auto" in run.output
    assert len(run.output.strip().splitlines()) == 1


def test_a_part_that_can_never_start_ends_the_studio_and_is_not_tried_again(start: Start) -> None:
    run = start(arguments="refused")
    assert run.process.wait(60) == 78
    said = [line for line in run.output.splitlines() if line.startswith("zoetrope: ")]
    assert said == [
        "zoetrope: the worker can't start: ZOETROPE_DEVICE=cuda, but there is no GPU: set it to auto"
    ]
    assert "starts again" not in run.output


def test_a_worker_is_not_told_where_the_database_is(start: Start) -> None:
    run = start().wait_for(READY)
    told = (run.data_dir / "told").read_text().splitlines()
    assert "ZOETROPE_REDIS_URL" in told
    assert {"ZOETROPE_DATABASE_URL", "ZOETROPE_STORAGE_URL", "ZOETROPE_SECRET_KEY"}.isdisjoint(told)


def test_logs_are_bounded_while_their_writers_go_on(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2000)
        bound_logs(tmp_path, max_bytes=1000)
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "web.log.1").stat().st_size == 2000
