"""Processes with limits for strangers' files: one a file, forked from one that has imported what it takes.

What decodes a file is C code that reads what a stranger wrote. Here it has no secret in its memory or environment, can
open no file and no connection, and whatever ends it ends nothing else. Torch is not among what it imports.
"""

import contextlib
import importlib
import json
import math
import os
import pkgutil
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NoReturn, Self

from PIL import Image

Answer = tuple[Mapping[str, object], Iterable[bytes]]
Task = Callable[[Mapping[str, Any], Sequence[IO[bytes]]], Answer]
"""What is asked and the files it is about, to what is answered and the bytes that go with it."""

STARTED_WITHIN_S: Final = 30.0
ENDED_WITHIN_S: Final = 1.0
MOST_FILES: Final = 4
MOST_WORDS_BYTES: Final = 64 * 1024
"""Of a question, and of an answer without the bytes that go with it."""
_TRIES: Final = 2
"""The one that forks may have died meanwhile."""
_LOOKED_AFTER_EVERY_S: Final = 0.2
_READY: Final = b"+"
_NOBODY: Final = 65534


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one file may take: seconds by the clock and of a core, memory, and the bytes of its answer."""

    wall_s: float
    cpu_s: int
    memory_bytes: int
    answer_bytes: int


class LimitedProcessEnded(Exception):
    """It ended, or was ended, before it had answered: by its limits, or by what it read."""


class NoLimitedProcess(Exception):
    """None could be started: nothing is known of the file."""


class LimitedProcesses:
    """Runs one task ("module:function") on files, each time in a process of its own. Safe to use from several threads.

    The first question starts the process that forks, unless `start` did; it ends with `close`, or with us.
    """

    def __init__(self, task: str, limits: Limits) -> None:
        self._task = task
        self._limits = limits
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._forker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the one that forks, ahead of the first question: its imports take a moment."""
        with self._lock:
            self._forking()

    def close(self) -> None:
        """End the one that forks, and what it forked."""
        self._drop(self._control)

    def ask(
        self, question: Mapping[str, object], files: Sequence[IO[bytes]] = ()
    ) -> tuple[dict[str, Any], bytes]:
        """The task's answer, of which nothing is to be believed. Takes up to `limits.wall_s`.

        Raises `LimitedProcessEnded` and `NoLimitedProcess`.
        """
        until_s = time.monotonic() + self._limits.wall_s
        with self._begun(files, until_s) as talk:
            try:
                talk.settimeout(_left_s(until_s))
                talk.sendall(json.dumps(question).encode())
                talk.shutdown(socket.SHUT_WR)
                said = _read(talk, MOST_WORDS_BYTES + self._limits.answer_bytes, until_s)
            except OSError as error:
                raise LimitedProcessEnded(f"no answer ({type(error).__name__})") from error
        words, _, rest = said.partition(b"\n")
        try:
            answer = json.loads(words[:MOST_WORDS_BYTES])
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise LimitedProcessEnded("no answer")
        return answer, rest

    def _begun(self, files: Sequence[IO[bytes]], until_s: float) -> socket.socket:
        """A connection with a process that has its limits and these files."""
        until_s = min(until_s, time.monotonic() + STARTED_WITHIN_S)
        for _try in range(_TRIES):
            ours, theirs = socket.socketpair()
            control = None
            try:
                with theirs, self._lock:
                    control = self._forking()
                    descriptors = [theirs.fileno(), *(file.fileno() for file in files)]
                    # One byte a question, so that none comes with the descriptors of another.
                    socket.send_fds(control, [b"."], descriptors)
                ours.settimeout(_left_s(until_s))
                if ours.recv(1) == _READY:
                    return ours
            except OSError:
                pass  # it died, or doesn't get there in time
            ours.close()
            self._drop(control)
        raise NoLimitedProcess(f"none could be started for {self._task}")

    def _drop(self, control: socket.socket | None) -> None:
        """End the one that forks, unless it is another than this by now."""
        with self._lock:
            if control is None or self._control is not control or self._forker is None:
                return
            control.close()  # it ends by that, and what it forked with it
            try:
                self._forker.wait(ENDED_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._forker.kill()
                self._forker.wait()
            self._control = self._forker = None

    def _forking(self) -> socket.socket:
        """The connection with the one that forks, which is started where there is none. The caller holds the lock."""
        if self._control is None:
            self._control, theirs = socket.socketpair()
            limits = json.dumps(asdict(self._limits))
            with theirs:
                self._forker = subprocess.Popen(
                    [sys.executable, "-I", "-c", _BEGIN, _CHECKOUT, self._task, limits],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    # One thread: who forks must have no other. One arena: memory is counted as it is reserved.
                    env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
                )
        return self._control


def _left_s(until_s: float) -> float:
    return max(0.001, until_s - time.monotonic())


def _read(talk: socket.socket, most_bytes: int, until_s: float) -> bytes:
    """All that is said, to its end. Raises OSError past `most_bytes` or `until_s`."""
    said = bytearray()
    while True:
        talk.settimeout(_left_s(until_s))
        piece = talk.recv(2**18)
        if not piece:
            return bytes(said)
        said += piece
        if len(said) > most_bytes or time.monotonic() > until_s:
            raise TimeoutError("too much, or too late")


_CHECKOUT: Final = str(Path(__file__).parent.parent)
_BEGIN: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from moderation.limited_process import fork_for_each
fork_for_each(sys.argv[2], sys.argv[3])
"""


def fork_for_each(named: str, limits_json: str) -> NoReturn:
    """The process that forks, one for each question, until its input ends. It reads no file itself."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A terminal sends them to all. What is being decoded goes on: it would count as broken.
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=0)
    module, _, function = named.partition(":")
    task: Task = getattr(importlib.import_module(module), function)
    limits = Limits(**json.loads(limits_json))
    _import_the_rest()
    ends_at_s: dict[int, float] = {}
    while True:
        if select.select([control], [], [], _LOOKED_AFTER_EVERY_S if ends_at_s else None)[0]:
            asked, descriptors, _flags, _address = socket.recv_fds(control, 1, 1 + MOST_FILES)
            if not asked:
                break
            pid = os.fork()
            if pid == 0:
                _answer(control, task, limits, descriptors)
            ends_at_s[pid] = time.monotonic() + limits.wall_s
            for descriptor in descriptors:
                os.close(descriptor)
        for pid, end_s in list(ends_at_s.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del ends_at_s[pid]
            elif time.monotonic() > end_s:
                os.kill(pid, signal.SIGKILL)
    for pid in ends_at_s:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _import_the_rest() -> None:
    """What the libraries import at their first need: later it can't be opened any more."""
    Image.preinit()
    for name in ("ImageCms", "ImagePalette", "MpoImagePlugin", "TiffImagePlugin", "WebPImagePlugin"):
        importlib.import_module(f"PIL.{name}")
    if "av" in sys.modules:
        for found in pkgutil.walk_packages(sys.modules["av"].__path__, "av."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)


def _answer(control: socket.socket, task: Task, limits: Limits, descriptors: list[int]) -> NoReturn:
    """The forked process: answers one question, and ends."""
    try:
        control.close()  # the descriptors of other questions come there
        _be_nobody()
        _limit_this_process(limits)
        talk = socket.socket(fileno=descriptors[0])
        talk.sendall(_READY)
        question = b"".join(iter(lambda: talk.recv(2**16), b""))
        answer, pieces = task(json.loads(question), [os.fdopen(each, "rb") for each in descriptors[1:]])
        talk.sendall(json.dumps(answer).encode() + b"\n")
        for piece in pieces:
            talk.sendall(piece)
    finally:
        os._exit(0)


def _be_nobody() -> None:
    """Root is held by no limit of processes, may lift the others, and may touch every process there is."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # a container may know nobody
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)


def _limit_this_process(limits: Limits) -> None:
    """macOS knows no limit of memory that holds: there the others do."""
    for kind, limit in (
        (resource.RLIMIT_CPU, math.ceil(limits.cpu_s)),
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),  # what is open stays so; no file and no connection is opened
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))
