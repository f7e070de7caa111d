"""`zoetrope ...`: the commands of an operator, each a thin door to a use case, a part or a check."""

import sys

import typer

from backend.cli import accounts, generate, ledger, simulate, studio, tiers, upkeep
from backend.domain.errors import ZoetropeError
from backend.operator_errors import OperatorError

app = typer.Typer(
    name="zoetrope",
    help="A self-hosted text-to-video studio.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
studio.register(app)
upkeep.register(app)
accounts.register(app)
ledger.register(app)
tiers.register(app)
generate.register(app)
simulate.register(app)


def main() -> None:
    """Runs one command; what the operator can mend is one line on stderr and a status that isn't 0."""
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
