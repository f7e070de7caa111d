"""The processes of a studio: what starts each, what it is told, and when it counts as up."""

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backend.operator_errors import PortTakenError
from backend.settings import ENV_PREFIX, Settings
from backend.web_probe import lives, own_address

WORKER_SETTINGS = frozenset(
    {
        "DATA_DIR",
        "CONTROL_URL",
        "REDIS_URL",
        "WORKER_ID",
        "DEVICE",
        "ENGINE",
        "MODELS",
        "LOG_LEVEL",
        "METRICS_LISTEN",
        "METRICS_SOCKETS",
    }
)
# Names that other programs read their passwords from, boto3 and Postgres' clients.
_FOREIGN_SECRETS = ("AWS_", "PGPASS", "PGSERVICE")
_FOR_TESTS = "FAKE_"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process that `zoetrope up` starts, and `zoetrope NAME` runs alone."""

    name: str
    # Lowest first, equal ones at once: a worker hands its job back through the others.
    stop_rank: int
    stop_grace_s: float
    needs_database: bool
    command: Callable[[Settings], list[str]]
    # The settings it is told, without their prefix; all of them where this is None.
    settings: frozenset[str] | None = None
    # What is asked for readiness; None for a part that announces it by `backend.notify`.
    answers: Callable[[Settings], bool] | None = None


def _module(name: str) -> Callable[[Settings], list[str]]:
    return lambda _settings: [sys.executable, "-m", name]


def _web_command(settings: Settings) -> list[str]:
    return [
        sys.executable, "-m", "granian",
        "--interface", "asgi",
        "--factory",
        "--respawn-failed-workers",
        "--http", "1",  # or a connection that never says which kind it is stays open for ever
        "--workers-kill-timeout", "5",
        "--http1-header-read-timeout", "10000",  # ms: as long as a body may pause
        "--no-access-log",
        "--log-level", "warning",
        "--host", settings.host,
        "--port", str(settings.port),
        "frontend.app:app",
    ]  # fmt: skip


def web_answers(settings: Settings) -> bool:
    """Whether the web process answers its health check."""
    return lives(own_address(settings))


def check_port(settings: Settings) -> None:
    """Whether the web process could listen; raises `PortTakenError`."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise PortTakenError(
                f"can't listen on {settings.host}:{settings.port} ({reason})",
                "stop what listens there, or set ZOETROPE_PORT (or ZOETROPE_HOST) to another",
            ) from error


PARTS = (
    Part(
        name="control",
        stop_rank=1,
        stop_grace_s=8,
        needs_database=True,
        command=_module("jobs.control"),
    ),
    Part(
        name="web",
        stop_rank=1,
        stop_grace_s=8,
        needs_database=True,
        command=_web_command,
        answers=web_answers,
    ),
    Part(
        name="moderator",
        stop_rank=1,
        stop_grace_s=8,
        needs_database=True,
        command=_module("jobs.moderator"),
    ),
    Part(
        name="worker",
        stop_rank=0,
        stop_grace_s=12,
        needs_database=False,
        command=_module("gpu_worker.main"),
        settings=WORKER_SETTINGS,
    ),
)


def part_named(name: str) -> Part:
    """The part of that name; raises `KeyError`."""
    return {part.name: part for part in PARTS}[name]


def _may_be_told(name: str, settings: frozenset[str]) -> bool:
    if name.startswith(_FOREIGN_SECRETS):
        return False
    own = name.removeprefix(ENV_PREFIX)
    return own == name or own in settings or own.startswith(_FOR_TESTS)


def part_environment(part: Part, settings: Settings) -> dict[str, str]:
    """The environment of a part's process: ours, and each setting that was worked out here.

    A worker may sit on a host that nobody trusts with secrets: of the settings it is told only its own.
    """
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    )
    environment["PYTHONUNBUFFERED"] = "1"
    known = {
        "DATA_DIR": str(settings.data_dir),
        "HOST": settings.host,
        "PORT": str(settings.port),
        "PUBLIC_URL": settings.public_url,
        "CONTROL_URL": settings.control_url,
        "STORAGE_URL": settings.storage_url,
        "REDIS_URL": settings.redis_url,
        "DATABASE_URL": settings.database_url,
    }
    for name, value in known.items():
        if value is None:
            environment.pop(f"{ENV_PREFIX}{name}", None)
        else:
            environment[f"{ENV_PREFIX}{name}"] = value
    if part.settings is not None:
        environment = {
            name: value for name, value in environment.items() if _may_be_told(name, part.settings)
        }
    if part.name == "web":
        # Reflex' own switches for serving a built client from this port with no Node (internal, so pinned).
        environment |= {
            "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
            "__REFLEX_SKIP_COMPILE": "true",
            "REFLEX_ENV_MODE": "prod",
        }
    return environment
