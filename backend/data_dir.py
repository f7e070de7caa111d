"""The data folder: made, checked for room, locked by the one studio that uses it; its folder for sockets."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.operator_errors import AlreadyRunningError, DataDirError

MIN_FREE_BYTES = 500 * 1024 * 1024
# sockaddr_un holds 104 bytes on macOS and 108 on Linux; the longest name put behind the folder has 20.
_MAX_SOCKET_FOLDER_LENGTH = 80
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")


def prepare_data_dir(data_dir: Path, min_free_bytes: int = MIN_FREE_BYTES) -> None:
    """Makes the data folder where it is missing and checks that it can hold something.

    Raises `DataDirError`. Never changes the mode of a folder that is already there, nor of any above it.
    """
    try:
        # Root's embedded Postgres runs as another user, who must be able to pass through (not to list).
        data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
        free_bytes = shutil.disk_usage(data_dir).free
    except OSError as error:
        raise data_dir_error(data_dir, error) from error
    if free_bytes < min_free_bytes:
        raise DataDirError(
            f"{data_dir} has {free_bytes >> 20} MB free, and a studio needs {min_free_bytes >> 20} MB",
            "free some disk, or set ZOETROPE_DATA_DIR to a folder on another one",
        )


def data_dir_error(data_dir: Path, error: OSError) -> DataDirError:
    """What an I/O error in the data folder means to the operator."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DataDirError(
            f"the disk of {data_dir} is full", "free some disk, or set ZOETROPE_DATA_DIR elsewhere"
        )
    reason = (error.strerror or str(error)).lower()
    return DataDirError(
        f"{error.filename or data_dir} can't be used ({reason})", "set ZOETROPE_DATA_DIR elsewhere"
    )


@contextmanager
def locked(data_dir: Path, *, patience_s: float = 0) -> Iterator[None]:
    """Holds the data folder for this process; raises `AlreadyRunningError` when another keeps it too long.

    The kernel drops the lock with the process, however that ends.
    """
    path = data_dir / "lock"
    deadline = time.monotonic() + patience_s
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise data_dir_error(data_dir, error) from error
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise AlreadyRunningError(
                        f"a studio already uses {data_dir}",
                        "stop that one first, or set ZOETROPE_DATA_DIR and ZOETROPE_PORT for a second one",
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def socket_folder(preferred: Path, uid: int | None = None, gid: int | None = None) -> Path:
    """A folder of mode 0700 for sockets: `preferred`, or one in /tmp where that path is too long or odd.

    With `uid` and `gid` it belongs to that user.
    """
    folder = preferred
    if len(str(preferred)) > _MAX_SOCKET_FOLDER_LENGTH or not _PLAIN_PATH.fullmatch(str(preferred)):
        digest = hashlib.sha256(str(preferred).encode()).hexdigest()[:12]
        folder = Path("/tmp", f"zoetrope-{os.geteuid()}-{digest}")
    folder.mkdir(mode=0o700, parents=folder == preferred, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), uid}:
        raise DataDirError(
            f"{folder} belongs to somebody else", "remove it, or set ZOETROPE_DATA_DIR elsewhere"
        )
    if uid is not None and gid is not None:
        os.chown(folder, uid, gid)
    folder.chmod(0o700)
    return folder
