"""`zoetrope ...`: the commands of an operator, each a thin door to a use case, a part or a check."""

import os
import sys
from typing import Annotated

import typer

from backend.cli import accounts, generate, keys, ledger, models, simulate, studio, tiers, upkeep, workers
from backend.domain.errors import ZoetropeError
from backend.operator_errors import OperatorError
from backend.settings import unknown_settings
from backend.version import installed_version

app = typer.Typer(
    name="zoetrope",
    help="A self-hosted text-to-video studio.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"zoetrope {installed_version()}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """A self-hosted text-to-video studio."""


studio.register(app)
upkeep.register(app)
accounts.register(app)
keys.register(app)
ledger.register(app)
tiers.register(app)
workers.register(app)
models.register(app)
generate.register(app)
simulate.register(app)


def main() -> None:
    """Runs one command; what the operator can mend is one line on stderr and a status that isn't 0."""
    for name, meant in unknown_settings(os.environ).items():
        remedy = f"did you mean {meant}?" if meant else "the README lists the settings"
        print(f"zoetrope: {name} is no setting and does nothing: {remedy}", file=sys.stderr)
    try:
        app()
    except OperatorError as error:
        print(f"zoetrope: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ZoetropeError as error:
        print(f"zoetrope: {error.message}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
