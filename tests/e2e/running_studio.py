"""A whole studio as a user starts it: `zoetrope up` on a folder and a port of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

T = TypeVar("T")
ZOETROPE = Path(sys.executable).parent / "zoetrope"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, check: Callable[[], T | None], timeout_s: float, every_s: float = 0.1) -> T:
    """What `check` returns once it is neither None nor False. Fails after `timeout_s`, naming what was awaited."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = check()
        if found is not None and found is not False:
            return found
        time.sleep(every_s)
    raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")


@dataclass
class RunningStudio:
    """Started by `start`, ended by `stop`; the same folder can be started again."""

    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None
    output: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the caller's settings."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ZOETROPE_")}
        return clean | {
            "ZOETROPE_DATA_DIR": str(self.folder),
            "ZOETROPE_PORT": str(self.port),
            **self.extra,
        }

    def start(self, timeout_s: float = 120) -> None:
        """Start, and wait until it is ready: database, Valkey, storage and a live worker."""
        log = (self.folder.parent / "up.log").open("a")
        self.process = subprocess.Popen(
            [str(ZOETROPE), "up"], env=self.environment, stdout=log, stderr=log, text=True
        )
        log.close()
        wait_for("the studio to be ready", self._ready, timeout_s)

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the studio ended:\n{(self.folder.parent / 'up.log').read_text()[-3000:]}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it, and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=40)

    def pid_of(self, part: str) -> int:
        """The process of a part: as the supervisor wrote it down, or the server it is the parent of."""
        written = json.loads((self.folder / "runtime.json").read_text())["parts"]
        if part in written:
            return int(written[part]["pid"])
        assert self.process is not None
        servers = psutil.Process(self.process.pid).children(recursive=True)
        mine = [p for p in servers if p.name().startswith(part)]
        return next(p.pid for p in mine if p.ppid() not in {other.pid for other in mine})

    def database_url(self) -> str:
        """The embedded Postgres."""
        return str(json.loads((self.folder / "runtime.json").read_text())["database_url"])

    def redis_url(self) -> str:
        """The embedded Valkey."""
        return str(json.loads((self.folder / "runtime.json").read_text())["redis_url"])

    def run(
        self, *arguments: str, timeout_s: float = 120, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """A `zoetrope` command beside the running studio."""
        done = subprocess.run(
            [str(ZOETROPE), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done

    def creator_with_key(self, email: str, *, credits: int = 1000, tier: str = "pro") -> str:
        """A creator with credits; returns an API key."""
        self.run("users", "create", "--email", email, "--password", "correct horse battery", "--tier", tier)
        self.run("credits", "grant", "--email", email, "--amount", str(credits))
        return self.run("keys", "create", "--email", email).stdout.strip()

    def logs(self, parts: Sequence[str] = ("control", "web", "moderator", "worker")) -> str:
        """The ends of the parts' logs, for a failing test to show."""
        return "\n".join(
            f"== {part}\n{path.read_text()[-1500:]}"
            for part in parts
            if (path := self.folder / "logs" / f"{part}.log").exists()
        )
