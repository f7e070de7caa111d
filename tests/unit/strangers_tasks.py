"""What a file might have a limited process do, as tasks of `moderation.limited_process`."""

import _thread
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import IO, Any

Answer = tuple[Mapping[str, object], Iterable[bytes]]


def run(question: Mapping[str, Any], files: Sequence[IO[bytes]]) -> Answer:
    return TASKS[question["do"]](files)


def _read(files: Sequence[IO[bytes]]) -> Answer:
    return {"sizes": [len(file.read()) for file in files]}, (b"and ", b"bytes")


def _crash(_files: Sequence[IO[bytes]]) -> Answer:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}, ()


def _raise(_files: Sequence[IO[bytes]]) -> Answer:
    raise ValueError("odd")


def _hang(_files: Sequence[IO[bytes]]) -> Answer:
    signal.pause()
    return {}, ()


def _spin(_files: Sequence[IO[bytes]]) -> Answer:
    while True:
        pass


def _fill_memory(_files: Sequence[IO[bytes]]) -> Answer:
    return {}, (bytes(2**30),)


def _talk_on(_files: Sequence[IO[bytes]]) -> Answer:
    return {}, repeat(b"more " * 10_000)


def _look_around(_files: Sequence[IO[bytes]]) -> Answer:
    return {
        "refused": list(_refused()),
        "environment": sorted(os.environ),
        "torch": "torch" in sys.modules,
        "descriptors": _open_descriptors(),
    }, ()


def _refused() -> Iterator[str]:
    tries: dict[str, Callable[[], object]] = {
        "file": lambda: open("/etc/passwd"),  # noqa: SIM115
        "network": lambda: socket.socket(socket.AF_INET),
        "pipe": os.pipe,
        "thread": lambda: _thread.start_new_thread(print, ()),
        "process": os.fork,
        "signal": lambda: os.kill(os.getppid(), signal.SIGWINCH),
    }
    for name, try_it in tries.items():
        try:
            try_it()
        except (OSError, RuntimeError):
            yield name


def _open_descriptors() -> int:
    count = 0
    for number in range(256):
        with contextlib.suppress(OSError):
            os.fstat(number)
            count += 1
    return count


TASKS: dict[str, Callable[[Sequence[IO[bytes]]], Answer]] = {
    "read": _read,
    "crash": _crash,
    "raise": _raise,
    "hang": _hang,
    "spin": _spin,
    "fill memory": _fill_memory,
    "talk on": _talk_on,
    "look around": _look_around,
}
