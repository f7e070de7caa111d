"""API keys: `keys create|list|revoke`."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from backend.auth.principal import Scope
from backend.cli.accounts import Email, table, with_studio

if TYPE_CHECKING:
    from backend.services.create_api_key import KeyView


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    keys = typer.Typer(help="API keys.", no_args_is_help=True)
    keys.command("create")(create_key)
    keys.command("list")(list_keys)
    keys.command("revoke")(revoke_key)
    app.add_typer(keys, name="keys")


def create_key(
    email: Email,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "command line",
    scope: Annotated[
        list[Scope] | None,
        typer.Option("--scope", help="What it may be used for; may be repeated. All, if none is given."),
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option("--expires-in-days", min=1, help="When it ends; never, if not given.")
    ] = None,
) -> None:
    """Make an API key for a person and print it, alone: it is shown this once."""
    from backend.services.create_api_key import create_api_key_for

    life = timedelta(days=expires_in_days) if expires_in_days is not None else None
    print(
        with_studio(
            lambda studio: create_api_key_for(
                studio, email=email, name=name, scopes=scope or tuple(Scope), expires_in=life
            )
        )
    )


def list_keys(email: Email) -> None:
    """Print a person's keys, newest first: what they may do, and until when. The keys themselves are not kept."""
    from backend.services.list_api_keys import list_api_keys_of

    keys = with_studio(lambda studio: list_api_keys_of(studio, email=email))
    rows = [
        (
            key.id,
            key.name,
            key.hint,
            " ".join(key.scopes),
            f"{key.created_at:%Y-%m-%d}",
            f"{key.last_used_at:%Y-%m-%d}" if key.last_used_at else "never",
            _end(key),
        )
        for key in keys
    ]
    print(table(("id", "name", "ends in", "scopes", "made", "used", "valid"), rows))


def revoke_key(key_id: Annotated[str, typer.Argument(help="As `keys list` shows it.")]) -> None:
    """End a key; it stops working within seconds."""
    from backend.services.revoke_api_key import revoke_any_api_key

    key = with_studio(lambda studio: revoke_any_api_key(studio, key_id))
    print(f"{key.name} (…{key.hint}) is revoked")


def _end(key: "KeyView") -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    return f"until {key.expires_at:%Y-%m-%d}" if key.expires_at is not None else "for good"
