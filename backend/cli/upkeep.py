"""Looking after an installation: `migrate`, `doctor`, `build`, `train-mini`."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.embedded import borrowed_services
from backend.external_services import check_database
from backend.operator_errors import OperatorError
from backend.runtime import with_running_studio
from backend.settings import ROOT, load_settings

if TYPE_CHECKING:
    from backend.doctor import Finding


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command()(migrate)
    app.command()(doctor)
    app.command()(build)
    app.command("train-mini", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
        train_mini
    )
    app.command("first-start", hidden=True)(first_start)


def migrate() -> None:
    """Bring the database to this version's schema."""
    with borrowed_services(with_running_studio(load_settings())) as settings:
        url = settings.require_database_url()
        check_database(url)
        _upgrade(url)
    print("the database is up to date")


def first_start(
    answer: Annotated[Path, typer.Argument(help="Where the link is written, if there is to be one.")],
) -> None:
    """Migrate, and make the link that signs the first admin in where nobody has an account yet."""
    settings = load_settings()
    _upgrade(settings.require_database_url())
    link = asyncio.run(_first_admin_link())
    if link:
        descriptor = os.open(answer, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(link)


def doctor() -> None:
    """Check each part of the installation, and say how to mend what is wrong.

    Exit status 1 when clips can't be made.
    """
    from backend.doctor import examine

    findings = examine(with_running_studio(load_settings()))
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        print(_rendered(finding, width), flush=True)
    if any(finding.broken for finding in findings):
        raise typer.Exit(1)


def build() -> None:
    """Build the web client if its sources changed."""
    become_module("frontend.build")


def train_mini(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="Which one: video, clip, ...; what follows goes to its trainer.")
    ],
) -> None:
    """Train one of the mini models anew; `zoetrope train-mini video -- --help` shows its trainer's options."""
    trainers = {
        path.stem.removeprefix("train_") for path in (ROOT / "gpu_worker" / "mini").glob("train_*.py")
    }
    if model not in trainers:
        raise OperatorError(
            f"there is no mini model {model!r}", f"choose one of {', '.join(sorted(trainers))}"
        )
    become_module(f"gpu_worker.mini.train_{model}", *context.args)


def _upgrade(url: str) -> None:
    from backend.db.migrate import upgrade

    upgrade(url)


async def _first_admin_link() -> str | None:
    from backend.services.create_first_admin_link import create_first_admin_link
    from backend.studio import open_studio

    studio = open_studio(load_settings(), pool_size=1)
    try:
        return await create_first_admin_link(studio)
    finally:
        await studio.close()


def become_module(module: str, *arguments: str) -> None:
    """End as another program of ours, in this process: it may import what commands never do."""
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def _rendered(finding: "Finding", width: int) -> str:
    mark = "!!" if finding.broken else ("--" if finding.remedy else "ok")
    remedy = f"\n{'':>{width + 5}}{finding.remedy}" if finding.remedy else ""
    return f"{mark}  {finding.part:<{width}} {finding.found}{remedy}"
