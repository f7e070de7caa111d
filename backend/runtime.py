"""What runs now, written beside the data: commands in another terminal and the next start find it there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from backend.child_process import is_alive
from backend.settings import Settings


class ProcessMark(BaseModel):
    """A process by its pid and birth: a pid alone may be somebody else's by now."""

    model_config = ConfigDict(frozen=True)

    pid: int
    born_s: float

    @classmethod
    def of(cls, pid: int) -> "ProcessMark":
        """The mark of a process that runs now; raises `psutil.NoSuchProcess`."""
        return cls(pid=pid, born_s=psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it is still this one and alive."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.born_s) < 1
        except psutil.Error:
            return None
        return found if same and is_alive(found) else None


class Runtime(BaseModel):
    """A running studio."""

    model_config = ConfigDict(frozen=True)

    supervisor: ProcessMark
    base_url: str
    database_url: str
    redis_url: str
    public_url: str = ""
    parts: Mapping[str, ProcessMark] = {}

    def is_running(self) -> bool:
        """Whether its supervisor lives."""
        return self.supervisor.process() is not None


def _path(data_dir: Path) -> Path:
    return data_dir / "runtime.json"


def write_runtime(data_dir: Path, runtime: Runtime) -> None:
    """Replaces the record in one step; it may hold a database password, so it is ours alone to read."""
    draft = data_dir / f".runtime.{os.getpid()}"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(runtime.model_dump_json(indent=1))
    draft.replace(_path(data_dir))


def read_runtime(data_dir: Path) -> Runtime | None:
    """The last record, whether that studio still runs or not; None where there is none that can be read."""
    try:
        return Runtime.model_validate(json.loads(_path(data_dir).read_text()))
    except (OSError, ValueError, ValidationError):
        return None


def forget_runtime(data_dir: Path) -> None:
    """Removes the record after a clean stop."""
    _path(data_dir).unlink(missing_ok=True)


def with_running_studio(settings: Settings) -> Settings:
    """Settings completed by the URLs of the studio that runs over the same data folder, if one does.

    So a command in another shell prints links that lead to it, whatever port it was started with.
    """
    runtime = read_runtime(settings.data_dir)
    if runtime is None or not runtime.is_running():
        return settings
    found = {"database_url": runtime.database_url, "redis_url": runtime.redis_url}
    completed = {name: value for name, value in found.items() if getattr(settings, name) is None}
    if runtime.public_url and not settings.model_fields_set & {"public_url", "host", "port"}:
        completed["public_url"] = runtime.public_url
    return settings.model_copy(update=completed)
