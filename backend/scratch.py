"""Folders for a moment in the system's temporary folder, and the end of those whose process was killed."""

import asyncio
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backend.log import get_logger

log = get_logger(__name__)

PREFIX = "zoetrope-scratch-"
YOUNG_S = 60.0
"""A folder is there for a moment before it is locked."""
SWEPT_EVERY_S = 120.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder that only this user may enter; gone afterwards.

    It is locked while it is in use. The kernel lets go of the lock when the process dies, in whatever way: unlike a
    number of a process that says so to every container that shares the disk.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        held = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(held)


def sweep_scratch() -> int:
    """Remove this user's scratch folders that nobody uses any more; how many there were."""
    swept = sum(_sweep(path) for path in Path(tempfile.gettempdir()).glob(PREFIX + "*"))
    if swept:
        log.info("scratch.swept", folders=swept)
    return swept


async def keep_swept() -> None:
    """Sweep for ever: what a process leaves that is killed while others live goes within a few minutes."""
    while True:
        with suppress(OSError):  # a disk in trouble is no reason to stop what uses none
            await asyncio.to_thread(sweep_scratch)
        await asyncio.sleep(SWEPT_EVERY_S)


def _sweep(path: Path) -> bool:
    try:
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        found = os.fstat(held)
        private = found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077 == 0
        if not private or time.time() - found.st_mtime < YOUNG_S:
            return False
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    except OSError:
        return False
    finally:
        os.close(held)
    return True
