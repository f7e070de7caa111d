"""People and credits: `users create|list|invite|link|role|close|reopen`, `credits grant`."""

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from backend.auth.principal import Role
from backend.operator_errors import BadSettingError
from backend.runtime import with_running_studio
from backend.settings import load_settings

if TYPE_CHECKING:
    from backend.studio import Studio

# Services are imported by the command that uses one: the database's libraries take a second to load.

Result = TypeVar("Result")
Email = Annotated[str, typer.Option("--email", help="The address the person signs in with.")]


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    users = typer.Typer(help="People who may sign in.", no_args_is_help=True)
    users.command("create")(create_user)
    users.command("list")(list_users)
    users.command("invite")(invite)
    users.command("link")(sign_in_link)
    users.command("role")(change_role)
    users.command("close")(close)
    users.command("reopen")(reopen)
    credit = typer.Typer(help="Credits of an account.", no_args_is_help=True)
    credit.command("grant")(grant)
    app.add_typer(users, name="users")
    app.add_typer(credit, name="credits")


def create_user(
    email: Email,
    password: Annotated[str | None, typer.Option(help="Better: --password-stdin.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read it from standard input.")
    ] = False,
    tier: Annotated[str, typer.Option(help="Which tier's shares and limits apply.")] = "free",
    role: Annotated[Role, typer.Option(help="What the person may do.")] = Role.CREATOR,
) -> None:
    """Make a person and their account; without a password one is made up and printed."""
    from backend.services.create_user import create_user as create

    made_up = ""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    if password == "":
        raise BadSettingError("the password is empty", "give one, or leave it out to have one made up")
    if password is None:
        password = made_up = secrets.token_urlsafe(15)
    user = with_studio(lambda studio: create(studio, email=email, password=password, tier=tier, role=role))
    print(f"{user.email} is there ({role}, {tier}), {user.id}")
    if made_up:
        print(f"password: {made_up}")


def list_users(
    search: Annotated[str, typer.Option(help="Only addresses that hold this.")] = "",
) -> None:
    """Print who may sign in, oldest first."""
    from backend.services.list_people import MOST, list_people

    people = with_studio(lambda studio: list_people(studio, part_of_email=search))
    rows = [
        (person.email, person.role, person.tier, person.standing, f"{person.created_at:%Y-%m-%d}", person.id)
        for person in people
    ]
    print(table(("address", "role", "tier", "standing", "since", "id"), rows))
    if len(rows) == MOST:
        print(f"these are the first {MOST}: narrow them with --search")


def invite(
    email: Annotated[str | None, typer.Option(help="Let only this address use it.")] = None,
    tier: Annotated[str, typer.Option(help="The tier of the account it makes.")] = "free",
    role: Annotated[Role, typer.Option(help="What the person may do.")] = Role.CREATOR,
) -> None:
    """Make a link with which one person may sign up, within two weeks, and print it, alone."""
    from backend.services.create_invitation import create_invitation

    print(with_studio(lambda studio: create_invitation(studio, email=email, tier=tier, role=role)))


def sign_in_link(email: Email) -> None:
    """Make a link that signs a person in, once, within an hour, and print it, alone."""
    from backend.services.create_sign_in_link import create_sign_in_link

    print(with_studio(lambda studio: create_sign_in_link(studio, email=email)))


def change_role(email: Email, role: Annotated[Role, typer.Option(help="What the person may do.")]) -> None:
    """Make somebody a creator, a moderator or an admin; the last admin stays one."""
    from backend.services.change_role import change_role as change

    with_studio(lambda studio: change(studio, email=email, role=role))
    print(f"{email} is {role} now")


def close(email: Email) -> None:
    """End a person's sessions, links and keys, and let them in no more; their clips stay."""
    from backend.services.close_user import close_user

    with_studio(lambda studio: close_user(studio, email=email))
    print(f"{email} is closed; `zoetrope users reopen` lets them in again")


def reopen(email: Email) -> None:
    """Let a person whose account was closed sign in again."""
    from backend.services.close_user import reopen_user

    with_studio(lambda studio: reopen_user(studio, email=email))
    print(f"{email} may sign in again")


def grant(
    email: Email,
    amount: Annotated[int, typer.Option(min=1, help="How many credits.")],
    reason: Annotated[str, typer.Option(help="Shown in the ledger.")] = "granted by the operator",
    days: Annotated[
        int | None, typer.Option(min=1, help="They end after so many; without it, never.")
    ] = None,
    gift: Annotated[bool, typer.Option(help="A promotion, as the ledger says it.")] = False,
) -> None:
    """Give credits to a person's account."""
    from backend.domain.credits import GrantSource
    from backend.services.grant_credits import grant_credits

    granted = with_studio(
        lambda studio: grant_credits(
            studio,
            email=email,
            amount=amount,
            reason=reason,
            source=GrantSource.PROMOTION if gift else GrantSource.ADMIN,
            expires_at=None if days is None else studio.clock.now() + timedelta(days=days),
        )
    )
    print(f"{email} has {granted.available} credits to spend")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns under their heads."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def with_studio(work: "Callable[[Studio], Awaitable[Result]]") -> Result:
    """Runs a use case against the running studio's services, or ones started for as long as it takes."""
    from backend.db.migrate import upgrade
    from backend.embedded import borrowed_services
    from backend.studio import open_studio

    running = with_running_studio(load_settings())
    if running.database_url is None and not (running.data_dir / "postgres").exists():
        print(
            f"zoetrope: no studio was in {running.data_dir}: a new, empty one is made there."
            " If yours is elsewhere, set ZOETROPE_DATA_DIR.",
            file=sys.stderr,
        )
    with borrowed_services(running) as settings:
        if running.database_url is None:
            upgrade(settings.require_database_url())

        async def run() -> Result:
            studio = open_studio(settings, pool_size=2)
            try:
                return await work(studio)
            finally:
                await studio.close()

        return asyncio.run(run())
