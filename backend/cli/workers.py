"""GPU hosts: `workers list|add|remove|drain|resume`."""

import sys
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit, urlunsplit

import typer

from backend.cli.accounts import table, with_studio
from backend.domain.worker import WorkerState
from backend.runtime import with_running_studio
from backend.settings import Settings, load_settings

if TYPE_CHECKING:
    from backend.services.add_worker import WorkerPass
    from backend.services.list_workers import ListedWorker

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
Name = Annotated[str, typer.Argument(help="The worker's name, one a GPU.")]


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    workers = typer.Typer(help="GPU hosts that may come in.", no_args_is_help=True)
    workers.command("list")(show)
    workers.command("add")(add)
    workers.command("remove")(remove)
    workers.command("drain")(drain)
    workers.command("resume")(resume)
    app.add_typer(workers, name="workers")


def show() -> None:
    """Print the workers: what each does, when it was last heard, and the models it serves (* loaded)."""
    from backend.services.list_workers import list_workers

    rows = [
        (worker.id, _state(worker), _heard(worker), _models(worker)) for worker in with_studio(list_workers)
    ]
    print(table(("worker", "state", "heard", "models"), rows))


def add(
    name: Name,
    redis_url: Annotated[
        str | None, typer.Option(help="Where the GPU host reaches Valkey, if not as this host does.")
    ] = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Leave Valkey alone: print the user as a line for its ACL file.")
    ] = False,
) -> None:
    """Make a Valkey user that can reach this worker's keys alone, and print what to set on its host."""
    from backend.services.add_worker import add_worker, admit_worker

    settings = with_running_studio(load_settings())
    add = admit_worker if only_print else add_worker
    made = with_studio(lambda studio: add(studio, name))
    url = urlsplit(redis_url or settings.redis_url or "")
    print(f"ZOETROPE_WORKER_ID={made.worker_id}")
    if url.scheme:
        print(f"ZOETROPE_REDIS_URL={_with_user(url.geturl(), made)}")
    print(f"ZOETROPE_CONTROL_URL={settings.public_url}")
    if only_print:
        print(f"\n{made.acl_line}")
    for sentence in _said_of(made, url.geturl(), settings):
        print(sentence, file=sys.stderr)


def remove(name: Name) -> None:
    """End a worker's user and its connections; what it ran goes on elsewhere once its lease has ended."""
    from backend.services.add_worker import remove_worker

    with_studio(lambda studio: remove_worker(studio, name))
    print(f"{name} may not come in any more")


def drain(name: Name) -> None:
    """Have a worker take nothing new and finish what it has, as before its host is restarted."""
    from backend.services.drain_worker import drain_worker

    with_studio(lambda studio: drain_worker(studio, name))
    print(f"{name} takes nothing new; `zoetrope workers resume {name}` lets it take jobs again")


def resume(name: Name) -> None:
    """Let a worker that was drained take jobs again."""
    from backend.services.drain_worker import resume_worker

    with_studio(lambda studio: resume_worker(studio, name))
    print(f"{name} takes jobs again")


def _state(worker: "ListedWorker") -> str:
    """What it does, and why it takes nothing where it doesn't."""
    if worker.silence is None:
        return "never came"
    said = [worker.state.value]
    if worker.draining and worker.state is not WorkerState.DRAINING:
        said.append(WorkerState.DRAINING.value)
    if worker.rests_for is not None:
        said.append(f"rests {worker.rests_for.total_seconds() / 60:.0f} min more: {worker.quarantine_reason}")
    return ", ".join(said)


def _heard(worker: "ListedWorker") -> str:
    if worker.silence is None:
        return "never"
    silence_s = worker.silence.total_seconds()
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if silence_s >= unit_s:
            return f"{silence_s / unit_s:.0f} {unit} ago"
    return f"{max(0.0, silence_s):.0f} s ago"


def _models(worker: "ListedWorker") -> str:
    return " ".join(f"{name}*" if name in worker.resident else name for name in worker.recipes) or "none"


def _with_user(url: str, made: "WorkerPass") -> str:
    """The URL with this user's name and password, whoever's were in it."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        (parts.scheme, f"{made.user}:{quote(made.password)}@{place}", parts.path, parts.query, "")
    )


def _said_of(made: "WorkerPass", url: str, settings: Settings) -> list[str]:
    """What the operator has to know besides."""
    parts = urlsplit(url)
    said = ["The password is shown this once. Set these on the GPU host, and start `zoetrope worker` there."]
    if parts.scheme in {"", "unix"}:
        said.append(
            "The embedded Valkey listens on a socket of this machine alone. For another host, give the studio a"
            " Valkey of its own (ZOETROPE_REDIS_URL=rediss://...) and add the worker again."
        )
    elif parts.hostname in LOOPBACK:
        said.append(f"{parts.hostname} is this machine: for another host, name its address with --redis-url.")
    elif parts.scheme == "redis":
        said.append(
            "redis:// has no TLS: password and prompts cross the network in the clear. Use rediss://."
        )
    if urlsplit(settings.public_url).hostname in LOOPBACK:
        said.append(
            "The worker reads and writes clips at ZOETROPE_CONTROL_URL: it has to be an address that the GPU host"
            " reaches, such as the studio's ZOETROPE_PUBLIC_URL in production."
        )
    if made.survives_restart is False:
        said.append(
            "Valkey forgets this user when it restarts: give it an `aclfile`, or add this line to its configuration:\n"
            + made.acl_line
        )
    return said
