"""Child processes that never outlive their parent: own group, own log, a signal when the parent dies."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None

Process = subprocess.Popen[bytes]


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str],
    death_signal: signal.Signals = signal.SIGTERM,
    user: int | None = None,
    group: int | None = None,
) -> Process:
    """Starts a command as the leader of its own process group, its output appended to `log`.

    On Linux the kernel sends it `death_signal` when this process dies in any way; call from the main thread,
    for the kernel counts the thread that forked as the parent. Output goes to a file, because an inherited
    pipe would hang whoever reads it until the last grandchild is gone.
    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=_die_with_parent(os.getpid(), death_signal),
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
            umask=0o077,
        )


def _die_with_parent(parent: int, death_signal: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    prctl = _libc.prctl

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask_the_kernel


def signal_group(process: Process, number: signal.Signals) -> None:
    """Sends a signal to a child's whole process group, grandchildren included."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        # Gone already; macOS says EPERM for a group of zombies.
        return


def stop(process: Process, *, first: signal.Signals = signal.SIGTERM, grace_s: float = 10) -> int:
    """Ends a child: `first` to it alone, then KILL to what is left of its group. Returns its exit status."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            signal_group(process, signal.SIGKILL)
    signal_group(process, signal.SIGKILL)
    return process.wait()


def end_leftovers(folder: Path, name: str, *, gentle: signal.Signals, grace_s: float = 10) -> list[int]:
    """Ends processes called `name...` that a killed parent left working in `folder`; returns their pids."""
    left = [process for process in psutil.process_iter(["name"]) if _works_in(process, folder, name)]
    for number, patience_s in ((gentle, grace_s), (signal.SIGKILL, 5.0)):
        for process in left:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + patience_s
        while any(map(is_alive, left)) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not any(map(is_alive, left)):
            break
    return [process.pid for process in left]


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie that nobody has waited for does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _works_in(process: psutil.Process, folder: Path, name: str) -> bool:
    try:
        return bool(process.info["name"].startswith(name)) and Path(process.cwd()) == folder
    except (psutil.Error, OSError):
        return False


def wait_until(
    ready: Callable[[], bool], process: Process, *, timeout_s: float, every_s: float = 0.03
) -> bool:
    """Waits for a condition while the process lives; False when it died or the time is over."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if ready():
            return True
        if process.poll() is not None:
            return False
        time.sleep(every_s)
    return False


def last_line(log: Path, beginning: str = "") -> str:
    """The last line of a log that says something, for an error message: the last that begins so, if one is given."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    if beginning:
        return next((line.strip() for line in reversed(lines) if line.startswith(beginning)), "")
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "rror" in line]
    return (telling or [line for line in lines if line.strip()] or [""])[-1].strip()
