"""Who plays: Postgres, Valkey and every process of the studio, started as a host starts them and hurt as hosts are.

All of it is called from one thread, the main one: the kernel ends a child with the thread that made it.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from backend.child_process import Process, signal_group, spawn, stop
from backend.data_dir import prepare_data_dir
from backend.embedded import embedded_postgres, embedded_valkey
from backend.embedded_postgres import EmbeddedPostgres
from backend.embedded_valkey import EmbeddedValkey
from backend.parts import part_environment, part_named
from backend.settings import ROOT, EngineKind, Settings
from backend.web_probe import lives
from tests.storm.plan import CONTROLS, MINI_WORKER, MODERATORS, WEBS, WORKERS
from tests.storm.weather import FILE_ENV, NAME_ENV

AGAIN_AFTER_S = 0.5
"""Between the end of a process and its next start, as the supervisor has it."""
STEP_S = 0.2
"""Of the fake engine: slow enough for faults to meet running jobs, and for heartbeats to be few."""


@dataclass
class Member:
    """One process of the studio: how it is started, and whether it is meant to run."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: Process | None = None
    wanted: bool = True
    ended_at: float | None = None
    starts: int = 0

    @property
    def pid(self) -> int:
        """Of the running process; 0 while there is none."""
        return self.process.pid if self.process is not None and self.process.poll() is None else 0


@dataclass
class Cast:
    """All processes of one storm, over one data folder."""

    folder: Path
    ports: dict[str, int]
    relay_port: int
    members: dict[str, Member] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    """Names of processes that ended though nobody hurt them; they are started again."""
    postgres: EmbeddedPostgres = field(init=False)
    valkey: EmbeddedValkey = field(init=False)
    settings: Settings = field(init=False)
    valkey_wanted: bool = True

    def __post_init__(self) -> None:
        self.settings = Settings(data_dir=self.folder, port=self.ports[WEBS[0]])
        self.postgres = embedded_postgres(self.settings)
        self.valkey = embedded_valkey(self.settings)

    @property
    def weather_file(self) -> Path:
        """Where the processes look what the weather is."""
        return self.folder / "weather.json"

    def log_of(self, name: str) -> Path:
        """Where a process writes."""
        return self.folder / "logs" / f"{name}.log"

    def start_services(self) -> None:
        """Postgres and Valkey. Durable: what was answered must outlive a kill."""
        prepare_data_dir(self.folder)
        self.settings = self.settings.model_copy(
            update={"database_url": self.postgres.start(), "redis_url": self.valkey.start()}
        )

    def start_studio(self) -> None:
        """Everything that needs a migrated database."""
        for name in (*WEBS, *CONTROLS, *MODERATORS, *WORKERS):
            self.members[name] = self._member(name)
            self._start(self.members[name])

    def _member(self, name: str) -> Member:
        kind = "worker" if name in WORKERS else name.partition("-")[0]
        port = self.ports.get(name, self.settings.port)
        settings = Settings(
            data_dir=self.folder,
            port=port,
            database_url=self.settings.database_url,
            redis_url=self.settings.redis_url,
            control_url=f"http://127.0.0.1:{self.relay_port}",
        )
        part = part_named(kind)
        command = [sys.executable, "-m", "tests.storm.process", kind]
        if kind == "web":
            command = [*part.command(settings)[:-1], "tests.storm.process:web"]
        environment = part_environment(part, settings) | {
            FILE_ENV: str(self.weather_file),
            NAME_ENV: name,
            # Two cores carry all of this: one thread each.
            "OMP_NUM_THREADS": "1",
        }
        if kind == "worker":
            engine = EngineKind.DIFFUSERS if name == MINI_WORKER else EngineKind.FAKE
            environment |= {
                "ZOETROPE_WORKER_ID": name,
                "ZOETROPE_DEVICE": "cpu",
                "ZOETROPE_ENGINE": engine.value,
                "ZOETROPE_FAKE_STEP_S": str(STEP_S),
            }
        return Member(name=name, command=command, environment=environment)

    def _start(self, member: Member) -> None:
        member.process = spawn(member.command, log=self.log_of(member.name), cwd=ROOT, env=member.environment)
        member.starts += 1
        member.ended_at = None

    def tend(self) -> None:
        """Start again what ended and is wanted; call it often."""
        if self.valkey_wanted and self.valkey.process is not None and self.valkey.process.poll() is not None:
            self.valkey.start()
        if self.postgres.process is not None and self.postgres.process.poll() is not None:
            self.postgres.start()
        now = time.monotonic()
        for member in self.members.values():
            if not member.wanted or member.process is None or member.process.poll() is None:
                continue
            if member.ended_at is None:
                self.unexpected.append(member.name)
                member.ended_at = now
                signal_group(member.process, signal.SIGKILL)
            if now - member.ended_at >= AGAIN_AFTER_S:
                self._start(member)

    def kill(self, *names: str, stay_away: bool = False) -> None:
        """kill -9 of whole process groups; they are started again by `tend`, or by `bring_back`."""
        for name in names:
            member = self.members[name]
            if member.process is not None:
                signal_group(member.process, signal.SIGKILL)
                member.process.wait()
            member.ended_at = time.monotonic()
            member.wanted = not stay_away

    def bring_back(self, *names: str) -> None:
        """What was told to stay away may run again."""
        for name in names:
            self.members[name].wanted = True

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.members[name].process
        if process is not None and process.poll() is None:
            signal_group(process, number)

    def kill_postmaster(self) -> None:
        """kill -9 of the server's first process; `tend` starts it again."""
        if self.postgres.process is not None:
            os.kill(self.postgres.process.pid, signal.SIGKILL)
            self.postgres.process.wait()

    def kill_valkey(self, *, stay_away: bool = False) -> None:
        """kill -9; `tend` starts it again, once it is wanted."""
        self.valkey_wanted = not stay_away
        if self.valkey.process is not None:
            os.kill(self.valkey.process.pid, signal.SIGKILL)
            self.valkey.process.wait()

    def name_of(self, pid: int) -> str:
        """Which process has this pid; empty where none has."""
        return next((name for name, member in self.members.items() if member.pid == pid), "")

    def web_answers(self, name: str) -> bool:
        """Whether a web process answers its health check now."""
        return lives(f"http://127.0.0.1:{self.ports[name]}")

    def stop_workers(self) -> None:
        """In order, at the end: nothing writes any more."""
        self._stop(WORKERS)

    def stop(self) -> None:
        """End everything that was started."""
        self._stop(self.members)
        self.valkey.stop()
        self.postgres.stop()

    def _stop(self, names: Iterable[str]) -> None:
        going = [self.members[name] for name in names if name in self.members]
        for member in going:
            member.wanted = False
            if member.process is not None and member.process.poll() is None:
                signal_group(member.process, signal.SIGCONT)
                member.process.terminate()
        for member in going:
            if member.process is not None:
                stop(member.process, grace_s=15)
