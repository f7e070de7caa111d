"""`zoetrope up`: starts every part in order, starts again what dies, and leaves nothing behind.

One thread and one loop. A part is a direct child in its own process group; if this process is killed, the
kernel tells the children (Linux) and the guardian ends their groups (everywhere).
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

import psutil

from backend.accelerator import check_device
from backend.child_process import Process, last_line, signal_group, spawn, stop
from backend.data_dir import locked, prepare_data_dir, socket_folder
from backend.db.at_this_version import needs_nothing
from backend.embedded import embedded_postgres, embedded_valkey, log_path
from backend.external_services import check_database, check_storage, check_valkey
from backend.make_parent import MakeParent
from backend.operator_errors import WRONGLY_SET_UP, OperatorError, PartRefusedError
from backend.parts import PARTS, Part, check_port, part_environment
from backend.runtime import ProcessMark, Runtime, forget_runtime, read_runtime, write_runtime
from backend.settings import ROOT, Settings
from backend.web_probe import own_address, what_is_missing

TICK_S = 0.05
HOUSEKEEPING_EVERY_S = 5.0
FULL_BELOW_BYTES = 16 * 1024 * 1024
MAX_LOG_BYTES = 20 * 1024 * 1024
FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 30.0
STEADY_AFTER_S = 60.0  # a part that lived this long starts its backoff anew
QUIET_START_S = 20.0  # what is not ready after so long is named
TELL_DELAY_EVERY_S = 20.0
ASK_EVERY_S = 1.0
SILENT_AFTER_S = 60.0  # a part that says nothing for so long hangs
DEAF_AFTER_S = 3.0  # since the last look: nobody is called silent by somebody who was stopped

Say = Callable[[str], None]


class Server(Protocol):
    """An embedded server, as the supervisor sees it."""

    @property
    def process(self) -> Process | None:
        """Its process while it is ours."""
        ...

    def start(self) -> str:
        """Starts it; returns its URL."""
        ...

    def stop(self) -> None:
        """Ends it."""
        ...


class _StopRequestedError(Exception):
    """A signal asked us to stop while we were starting."""


@dataclass(kw_only=True)
class _Running:
    """A part and its process."""

    part: Part
    process: Process
    announcements: socket.socket
    started_at_s: float
    up: bool = False
    was_up: bool = False
    restarts: int = 0
    start_again_at_s: float | None = None
    # When it last said that it goes on; None for one that never did, which is not watched for it.
    heard_at_s: float | None = None


@dataclass(kw_only=True)
class Supervisor:
    """One studio over one data folder."""

    settings: Settings
    say: Say
    parts: Sequence[Part] = PARTS
    # Run before the parts; it writes a sign-in link for the first admin into the file named last.
    preparation: Sequence[str] = (sys.executable, "-m", "backend.cli", "first-start")
    durable: bool = True
    silent_after_s: float = SILENT_AFTER_S
    _running: dict[str, _Running] = field(default_factory=dict)
    _servers: dict[str, Server] = field(default_factory=dict)
    _stop_signal: int = 0
    _make: MakeParent = field(default_factory=MakeParent)
    _guardian: subprocess.Popen[bytes] | None = None
    _began_s: float = field(default_factory=time.monotonic)
    _sign_in_link: str = ""
    _address_told: bool = False
    _ready_told: bool = False
    _tell_delay_at_s: float = QUIET_START_S
    _ask_again_at_s: float = 0.0
    _disk_full: bool = False
    _looked_at_s: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """Runs until INT, TERM or HUP. Raises `OperatorError` when it can't start."""
        prepare_data_dir(self.settings.data_dir)
        with locked(self.settings.data_dir), _signals(self._request_stop):
            self._end_last_run()
            check_port(self.settings)
            check_device(self.settings)
            check_storage(self.settings)
            try:
                self._start_guardian()
                self._start()
                self._watch()
            except _StopRequestedError:
                pass
            finally:
                self._stop()
        return 0

    def _start(self) -> None:
        settings = self.settings
        if settings.database_url is None:
            url = self._start_server(
                "postgres", embedded_postgres(settings, durable=self.durable), signal.SIGINT
            )
            settings = settings.model_copy(update={"database_url": url})
        else:
            check_database(settings.database_url)
            self.say(f"{'postgres':<10} reached")
        if settings.redis_url is None:
            url = self._start_server("valkey", embedded_valkey(settings), signal.SIGTERM)
            settings = settings.model_copy(update={"redis_url": url})
        else:
            check_valkey(settings.redis_url)
            self.say(f"{'valkey':<10} reached")
        self.settings = settings
        # What needs no database starts beside its migration: a worker imports for seconds.
        for part in self.parts:
            if not part.needs_database:
                self._launch(part)
        self._sign_in_link = self._prepare_database()
        for part in self.parts:
            if part.needs_database:
                self._launch(part)
        self._write_runtime()

    def _start_server(self, name: str, server: Server, death_signal: signal.Signals) -> str:
        url = server.start()
        self._servers[name] = server
        if server.process is not None:
            self._guard(server.process.pid, death_signal)
        self._stop_if_asked()
        self.say(f"{name:<10} up after {self._since_start_s():.1f} s")
        return url

    def _prepare_database(self) -> str:
        """Migrates in a process of its own where need be; returns a link that signs the first admin in, or nothing."""
        if needs_nothing(self.settings.require_database_url()):
            return ""
        log = log_path(self.settings, "migrate")
        answer = self.settings.data_dir / "run" / "first-admin-link"
        answer.unlink(missing_ok=True)
        environment = part_environment(PARTS[0], self.settings)
        process = spawn([*self.preparation, str(answer)], log=log, cwd=ROOT, env=environment)
        self._guard(process.pid, signal.SIGTERM)
        try:
            while process.poll() is None:
                self._tick()
        finally:
            stop(process, grace_s=5)
            self._forget(process.pid)
        if process.returncode != 0:
            raise OperatorError(f"the database could not be migrated ({last_line(log)})", f"look into {log}")
        self.say(f"{'database':<10} migrated after {self._since_start_s():.1f} s")
        try:
            return answer.read_text().strip()
        except FileNotFoundError:
            return ""
        finally:
            answer.unlink(missing_ok=True)

    def _tell_how_far(self) -> None:
        """Says where the studio is once pages are served, and that it is ready once clips can be made."""
        waited_s = self._since_start_s()
        silent = [running for running in self._running.values() if not running.up]
        if not self._address_told and not any(running.part.answers for running in silent):
            self._address_told = True
            self.say(f"\nZoetrope is at {self.settings.public_url} after {waited_s:.1f} s")
            if self._sign_in_link:
                self.say(f"Sign in as its admin (admin@localhost), once: {self._sign_in_link}")
            self.say("")
        missing: list[str] | None = [running.part.name for running in silent]
        if not missing:
            if time.monotonic() < self._ask_again_at_s:
                return
            self._ask_again_at_s = time.monotonic() + ASK_EVERY_S
            missing = what_is_missing(own_address(self.settings))
        if missing == []:
            self._ready_told = True
            self.say(f"{'ready':<10} after {waited_s:.1f} s: clips can be made")
        elif missing and waited_s > self._tell_delay_at_s:
            self._tell_delay_at_s = waited_s + TELL_DELAY_EVERY_S
            self.say(f"{'starting':<10} still waiting for {', '.join(missing)} after {waited_s:.1f} s")

    def _since_start_s(self) -> float:
        """What every line of a start counts from, so that their order and their figures agree."""
        return time.monotonic() - self._began_s

    def _launch(self, part: Part, restarts: int = 0, *, was_up: bool = False) -> None:
        folder = socket_folder(self.settings.data_dir / "run")
        address = folder / f"notify-{part.name}.sock"
        address.unlink(missing_ok=True)
        announcements = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        announcements.setblocking(False)
        announcements.bind(str(address))
        environment = part_environment(part, self.settings) | {
            "NOTIFY_SOCKET": str(address),
            # Their figures are at one address, the web process's, which none of them could listen at too.
            "ZOETROPE_METRICS_SOCKETS": str(folder),
            "ZOETROPE_METRICS_LISTEN": "",
        }
        process = spawn(
            part.command(self.settings),
            log=log_path(self.settings, part.name),
            cwd=ROOT,
            env=environment,
        )
        self._guard(process.pid, signal.SIGTERM)
        self._running[part.name] = _Running(
            part=part,
            process=process,
            announcements=announcements,
            started_at_s=time.monotonic(),
            was_up=was_up,
            restarts=restarts,
        )

    def _watch(self) -> None:
        housekeeping_at_s = time.monotonic()
        while True:
            self._tick()
            if not self._ready_told:
                self._tell_how_far()
            if time.monotonic() >= housekeeping_at_s:
                housekeeping_at_s = time.monotonic() + HOUSEKEEPING_EVERY_S
                with contextlib.suppress(OSError):  # a full disk is no reason to stop what still works
                    bound_logs(self.settings.data_dir / "logs")
                self._look_at_disk()

    def _look_at_disk(self) -> None:
        """One line when the disk runs out, for then no log can say it, and one when there is room again."""
        full = shutil.disk_usage(self.settings.data_dir).free < FULL_BELOW_BYTES
        if full and not self._disk_full:
            self.say(f"{'disk':<10} full: {self.settings.data_dir} takes no more; free some")
        elif self._disk_full and not full:
            self.say(f"{'disk':<10} has room again")
        self._disk_full = full

    def _tick(self) -> None:
        self._stop_if_asked()
        now_s = time.monotonic()
        if now_s - self._looked_at_s > DEAF_AFTER_S:
            for running in self._running.values():
                running.heard_at_s = None if running.heard_at_s is None else now_s
        self._looked_at_s = now_s
        for name, server in self._servers.items():
            if server.process is not None and server.process.poll() is not None:
                self._revive_server(name, server)
        for running in list(self._running.values()):
            self._look_after(running)
        time.sleep(TICK_S)

    def _look_after(self, running: _Running) -> None:
        now_s = time.monotonic()
        name = running.part.name
        if running.start_again_at_s is not None:
            if now_s >= running.start_again_at_s:
                self._launch(running.part, running.restarts, was_up=running.was_up)
                self._write_runtime()
            return
        status = running.process.poll()
        if status is None:
            is_ready = self._hear(running)
            if not running.up and is_ready:
                running.up = running.was_up = True
                took_s = now_s - running.started_at_s if self._ready_told else self._since_start_s()
                self.say(f"{name:<10} up after {took_s:.1f} s")
            if running.heard_at_s is not None and now_s - running.heard_at_s > self.silent_after_s:
                self.say(f"{name:<10} silent for {now_s - running.heard_at_s:.0f} s, is killed")
                running.heard_at_s = None
                signal_group(running.process, signal.SIGKILL)
            return
        if status == WRONGLY_SET_UP and not running.was_up:
            # One that was up may be so again: a GPU that fell off its bus is back after a reset.
            raise _refusal(name, last_line(log_path(self.settings, name), beginning=f"zoetrope {name}: "))
        signal_group(running.process, signal.SIGKILL)
        self._forget(running.process.pid)
        running.announcements.close()
        running.restarts = 1 if now_s - running.started_at_s > STEADY_AFTER_S else running.restarts + 1
        pause_s = min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (running.restarts - 1))
        running.start_again_at_s = now_s + pause_s
        cause = last_line(log_path(self.settings, name)) if status > 0 else ""
        why = f": {cause[:200]}" if cause else ""
        self.say(f"{name:<10} {_ending(status)}, starts again in {pause_s:g} s{why}")

    def _hear(self, running: _Running) -> bool:
        """Takes what a part says; whether it is ready, as it says so or as it answers."""
        if running.part.answers is not None:
            return not running.up and running.part.answers(self.settings)
        is_ready = False
        with contextlib.suppress(BlockingIOError):
            while said := running.announcements.recv(64):
                is_ready |= said.startswith(b"READY=1")
                if said.startswith(b"WATCHDOG=1"):
                    running.heard_at_s = time.monotonic()
        return is_ready

    def _revive_server(self, name: str, server: Server) -> None:
        assert server.process is not None
        self._forget(server.process.pid)
        self.say(f"{name:<10} {_ending(server.process.returncode)}, starts again")
        pause_s = FIRST_BACKOFF_S
        while True:
            try:
                server.start()
                break
            except OperatorError as error:
                self.say(f"{name:<10} {error}; tried again in {pause_s:g} s")
            until_s = time.monotonic() + pause_s
            while time.monotonic() < until_s:
                self._stop_if_asked()
                time.sleep(TICK_S)
            pause_s = min(LAST_BACKOFF_S, pause_s * 2)
        self._guard(server.process.pid, signal.SIGINT if name == "postgres" else signal.SIGTERM)
        self.say(f"{name:<10} up again")

    def _request_stop(self, number: int) -> None:
        self._stop_signal = number

    def _stop_if_asked(self) -> None:
        # Asked first: a signal that comes meanwhile has set it itself, and is not written over.
        asked = self._make.stop_asked()
        if asked and not self._stop_signal:
            self._stop_signal = asked
        if self._stop_signal:
            raise _StopRequestedError

    def _stop(self) -> None:
        if self._stop_signal:
            self.say(f"\nstopping ({signal.Signals(self._stop_signal).name})")
        for rank in sorted({running.part.stop_rank for running in self._running.values()}):
            self._stop_parts(
                [running for running in self._running.values() if running.part.stop_rank == rank]
            )
        for name in reversed(list(self._servers)):
            self._servers[name].stop()
        if self._guardian is not None and self._guardian.stdin is not None:
            for pid in [running.process.pid for running in self._running.values()]:
                self._forget(pid)
            with contextlib.suppress(OSError):
                self._guardian.stdin.close()
            self._guardian.wait()
        forget_runtime(self.settings.data_dir)

    def _stop_parts(self, several: list[_Running]) -> None:
        alive = [running for running in several if running.process.poll() is None]
        for running in alive:
            running.process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        for running in alive:
            left_s = running.part.stop_grace_s - (time.monotonic() - began_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(max(0.0, left_s))
        for running in several:
            signal_group(running.process, signal.SIGKILL)
            running.process.wait()
            running.announcements.close()

    def _end_last_run(self) -> None:
        """Ends parts of an earlier run that outlived both their supervisor and its guardian."""
        last = read_runtime(self.settings.data_dir)
        for mark in last.parts.values() if last is not None else ():
            process = mark.process()
            if process is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(psutil.Error):
                    process.wait(5)

    def _start_guardian(self) -> None:
        script = Path(__file__).with_name("guardian.py")
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _tell_guardian(self, line: str) -> None:
        if self._guardian is None or self._guardian.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._guardian.stdin.write(line.encode() + b"\n")
            self._guardian.stdin.flush()

    def _guard(self, group: int, death_signal: signal.Signals) -> None:
        self._tell_guardian(f"watch {group} {int(death_signal)}")

    def _forget(self, group: int) -> None:
        self._tell_guardian(f"forget {group}")

    def _write_runtime(self) -> None:
        parts = {}
        for name, running in self._running.items():
            with contextlib.suppress(psutil.Error):
                parts[name] = ProcessMark.of(running.process.pid)
        runtime = Runtime(
            supervisor=ProcessMark.of(os.getpid()),
            base_url=self.settings.control_url,
            database_url=self.settings.require_database_url(),
            redis_url=self.settings.require_redis_url(),
            public_url=self.settings.public_url,
            parts=parts,
        )
        with contextlib.suppress(OSError):
            write_runtime(self.settings.data_dir, runtime)


def bound_logs(folder: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Keeps each log at `max_bytes` and one older file; writers append, so they go on undisturbed."""
    for log in folder.glob("*.log"):
        if log.stat().st_size > max_bytes:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


@contextlib.contextmanager
def _signals(request_stop: Callable[[int], None]) -> Iterator[None]:
    def handle(number: int, _frame: FrameType | None) -> None:
        request_stop(number)

    with ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A script's `&` makes us inherit an ignored INT that nobody asked for; an ignored HUP is nohup's wish.
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            stack.callback(signal.signal, number, signal.signal(number, handle))
        yield


def _refusal(name: str, said: str) -> PartRefusedError:
    return PartRefusedError(f"the {name} can't start", said.removeprefix(f"zoetrope {name}: "))


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"stopped with status {status}"
