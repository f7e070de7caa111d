"""Tiers as data: `tiers list|set|assign`."""

import json
from typing import Annotated

import typer

from backend.cli.accounts import Email, with_studio
from backend.operator_errors import BadSettingError


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    tiers = typer.Typer(help="What accounts may do, by tier.", no_args_is_help=True)
    tiers.command("list")(show)
    tiers.command("set")(change)
    tiers.command("assign")(assign)
    app.add_typer(tiers, name="tiers")


def show(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """Print every tier; durations in seconds."""
    from backend.db.repositories.tiers import row_of
    from backend.services.edit_tier import list_tiers

    rows = [row_of(tier) for tier in with_studio(list_tiers)]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    names = [key for key in rows[0] if key != "name"]
    width = max(map(len, names))
    columns = [max(len(str(row["name"])), *(len(_said(row[key])) for key in names)) for row in rows]
    print(
        " " * width, *(f"{row['name']!s:>{size}}" for row, size in zip(rows, columns, strict=True)), sep="  "
    )
    for key in names:
        cells = (f"{_said(row[key]):>{size}}" for row, size in zip(rows, columns, strict=True))
        print(f"{key:<{width}}", *cells, sep="  ")


def change(
    name: Annotated[str, typer.Argument(help="The tier.")],
    values: Annotated[list[str], typer.Argument(help="key=value, such as queue_limit=20 or ceiling=30m.")],
) -> None:
    """Change values of a tier; they are in force at once."""
    from backend.services.edit_tier import edit_tier

    changes: dict[str, str] = {}
    for pair in values:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadSettingError(f"{pair!r} is no key=value", "write for example queue_limit=20")
        changes[key.strip()] = value
    with_studio(lambda studio: edit_tier(studio, name=name, changes=changes))
    print(f"{name}: {', '.join(f'{key} = {value}' for key, value in changes.items())}")


def assign(
    email: Email,
    name: Annotated[str, typer.Argument(help="The tier.")],
    follow_payments: Annotated[
        bool, typer.Option(help="Let subscriptions change it again; otherwise it stays.")
    ] = False,
) -> None:
    """Put a person's account into a tier."""
    from backend.services.change_tier import change_tier

    with_studio(lambda studio: change_tier(studio, email=email, tier=name, pin=not follow_payments))
    print(f"{email} is in {name}")


def _said(value: object) -> str:
    return (
        f"{value:,.10g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
