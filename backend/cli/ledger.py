"""The books: `ledger check`."""

import json
from typing import Annotated

import typer

from backend.cli.accounts import with_studio


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    ledger = typer.Typer(help="The double entry behind everybody's credits.", no_args_is_help=True)
    ledger.callback()(lambda: None)
    ledger.command("check")(check)
    app.add_typer(ledger, name="ledger")


def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> None:
    """Prove that ledger, grants, holds and jobs agree; exit status 1 when something disagrees."""
    from backend.services.check_ledger import check_ledger

    report = with_studio(check_ledger)
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        read = ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in report.checked.items())
        print(f"read {read or 'nothing: there are no credits yet'}")
        for found in report.named:
            print(f"!!  {found.fault} {found.subject} of {found.account_id}: {found.words}")
        if report.total > len(report.named):
            print(f"!!  and {report.total - len(report.named):,} more")
        print("they agree" if report.total == 0 else f"{report.total:,} disagreements")
    if report.total:
        raise typer.Exit(1)
