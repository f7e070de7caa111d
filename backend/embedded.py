"""Postgres and Valkey for whoever gave no URLs: started from their wheels, stopped with us."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from backend.data_dir import locked, prepare_data_dir
from backend.embedded_postgres import EmbeddedPostgres
from backend.embedded_valkey import EmbeddedValkey
from backend.settings import Settings

__all__ = ["EmbeddedPostgres", "EmbeddedValkey", "borrowed_services", "embedded_postgres", "embedded_valkey"]


def log_path(settings: Settings, part: str) -> Path:
    """Where a part writes its log."""
    return settings.data_dir / "logs" / f"{part}.log"


def embedded_postgres(settings: Settings, *, durable: bool = True) -> EmbeddedPostgres:
    """The studio's own Postgres, not started yet."""
    return EmbeddedPostgres(
        settings.data_dir / "postgres", log=log_path(settings, "postgres"), durable=durable
    )


def embedded_valkey(settings: Settings) -> EmbeddedValkey:
    """The studio's own Valkey, not started yet."""
    return EmbeddedValkey(
        settings.data_dir / "valkey",
        sockets=settings.data_dir / "run",
        log=log_path(settings, "valkey"),
        binary=settings.valkey_binary,
    )


@contextmanager
def borrowed_services(settings: Settings) -> Iterator[Settings]:
    """Settings whose database and Valkey answer while the studio is down: the embedded ones, for one command.

    What the settings name already is left as it is.
    """
    if settings.database_url is not None and settings.redis_url is not None:
        yield settings
        return
    prepare_data_dir(settings.data_dir)
    with ExitStack() as stack:
        stack.enter_context(locked(settings.data_dir, patience_s=10))
        if settings.database_url is None:
            postgres = embedded_postgres(settings)
            stack.callback(postgres.stop)
            settings = settings.model_copy(update={"database_url": postgres.start()})
        if settings.redis_url is None:
            valkey = embedded_valkey(settings)
            stack.callback(valkey.stop)
            settings = settings.model_copy(update={"redis_url": valkey.start()})
        yield settings
