"""`up`, and each part alone in the foreground: `web`, `control`, `moderator`, `worker`."""

import contextlib
import os
import sys

import typer

from backend.accelerator import check_device
from backend.external_services import check_storage
from backend.parts import part_environment, part_named
from backend.runtime import with_running_studio
from backend.settings import ROOT, load_settings
from backend.supervisor import Supervisor


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command()(up)
    app.command()(web)
    app.command()(control)
    app.command()(moderator)
    app.command()(worker)


def say(line: str) -> None:
    """Prints a line at once; a terminal that went away is no reason to stop."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def up() -> None:
    """Start the whole studio and keep it running: database, web, control, moderator and one GPU worker."""
    Supervisor(settings=load_settings(), say=say).run()


def web() -> None:
    """Run the web process alone: the client, the API and live updates on one port."""
    _become("web")


def control() -> None:
    """Run the control worker alone: dispatch, collection, publishing, notifications."""
    _become("control")


def moderator() -> None:
    """Run the moderation worker alone."""
    _become("moderator")


def worker() -> None:
    """Run a GPU worker alone; it needs ZOETROPE_REDIS_URL and ZOETROPE_CONTROL_URL, and no database."""
    _become("worker")


def _become(name: str) -> None:
    part = part_named(name)
    settings = with_running_studio(load_settings())
    if part.needs_database:
        settings.require_database_url()
        check_storage(settings)
    if name == "worker":
        check_device(settings)
    settings.require_redis_url()
    environment = part_environment(part, settings)
    os.chdir(ROOT)
    sys.stdout.flush()
    command = part.command(settings)
    os.execve(command[0], command, environment)
