"""Faults at the storage port and at the clock port: the adapters that a process of the storm is given.

One file says what the weather is; each process reads it again every tenth of a second. The product knows nothing of it.
"""

import errno
import json
import os
import random
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

from backend.settings import Settings
from backend.storage import StorageUnavailable
from backend.storage.local import LocalStorage

FILE_ENV = "STORM_WEATHER"
NAME_ENV = "STORM_NAME"
_READ_EVERY_S = 0.1
_FITS_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class Weather:
    """`failing`: the share of calls to storage that fail. `full`: its disk takes nothing more.

    `jumps`: by how many seconds which process' clock is wrong.
    """

    failing: float = 0.0
    full: bool = False
    jumps: dict[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Let it be so, in one step."""
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(path)


class Station:
    """What the weather is for one process."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._read_at = -1.0
        self._now = Weather()

    @classmethod
    def of_this_process(cls) -> "Station":
        """The one that the environment names."""
        return cls(Path(os.environ[FILE_ENV]), os.environ[NAME_ENV])

    def now(self) -> Weather:
        """The weather, at most a tenth of a second old; a fine day where nobody wrote anything."""
        if time.monotonic() - self._read_at >= _READ_EVERY_S:
            self._read_at = time.monotonic()
            try:
                self._now = Weather(**json.loads(self._path.read_text()))
            except FileNotFoundError:
                self._now = Weather()
        return self._now

    def jump_s(self) -> float:
        """By how much this process' clock is wrong."""
        return self.now().jumps.get(self._name, 0.0)


class StormClock:
    """The machine's clock, set wrong while the weather says so. Durations are never wrong."""

    def __init__(self, station: Station) -> None:
        self._station = station

    def now(self) -> datetime:
        """The wall-clock time as this process believes it."""
        return datetime.now(UTC) + timedelta(seconds=self._station.jump_s())

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()


class StormStorage(LocalStorage):
    """A folder on a disk that fails or is full while the weather says so."""

    def __init__(self, root: Path, *, secret: bytes, worker_url: str, station: Station) -> None:
        super().__init__(root, secret=secret, worker_url=worker_url, clock=StormClock(station))
        self._station = station
        self._chance = random.Random()

    def _open_draft(self) -> tuple[Path, BinaryIO]:
        self._may_fail("write")
        draft, file = super()._open_draft()
        return draft, cast("BinaryIO", _FullDisk(file)) if self._station.now().full else file

    def _open(self, key: str, start: int = 0) -> BinaryIO:
        self._may_fail("read")
        return super()._open(key, start)

    def _delete(self, key: str) -> None:
        self._may_fail("delete")
        super()._delete(key)

    def _may_fail(self, verb: str) -> None:
        if self._chance.random() < self._station.now().failing:
            raise StorageUnavailable(f"the storm lets nobody {verb}")


class _FullDisk:
    """A file that takes a kilobyte and then says what a full disk says."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _FITS_BYTES

    def write(self, data: bytes) -> int:
        written = self._file.write(data[: self._left])
        self._left -= written
        if written < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def open_storm_storage(settings: Settings, station: Station) -> StormStorage:
    """The studio's folder, with weather."""
    return StormStorage(
        Path(settings.storage_url),
        secret=settings.secret("url-signing"),
        worker_url=settings.control_url,
        station=station,
    )
