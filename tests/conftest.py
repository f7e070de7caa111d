"""Real Postgres and Valkey from the wheels, once a session; a freshly migrated database for each module."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
import redis

from backend.embedded_postgres import EmbeddedPostgres
from backend.embedded_valkey import EmbeddedValkey

if TYPE_CHECKING:
    from backend.db.engine import Database

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_caller() -> Iterator[None]:
    """Tests see the defaults, whatever the developer's shell exports, and never the developer's own data."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ZOETROPE_")}
    with short_folder() as folder:
        os.environ["ZOETROPE_DATA_DIR"] = str(folder / "data")
        yield
        del os.environ["ZOETROPE_DATA_DIR"]
    os.environ.update(kept)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder with a path short enough for sockets, which another user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="zoe-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """`short_folder` as a fixture: a data folder for tests that start servers of their own."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def _services() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres(_services: Path) -> Iterator[EmbeddedPostgres]:
    """The session's Postgres, without fsync. Its own database stays empty: use `pg_url`."""
    server = EmbeddedPostgres(_services / "postgres", log=_services / "postgres.log", durable=False)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _valkey(_services: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(_services / "valkey", sockets=_services / "run", log=_services / "valkey.log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def valkey_url(_valkey: EmbeddedValkey) -> str:
    """A Valkey that holds nothing yet: flushed before each test."""
    client = redis.Redis.from_url(_valkey.url)
    client.flushall()
    client.close()
    return _valkey.url


def _sql(server: EmbeddedPostgres, *statements: str) -> None:
    """Runs statements as the database's owner, in sync code, so that session fixtures need no event loop."""
    host = parse_qs(urlsplit(server.url).query)["host"][0]
    command = [
        str(server.binaries / "psql"),
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--host={host}",
    ]
    command += ["--username=zoetrope", "--dbname=postgres"]
    for statement in statements:
        command += ["--command", statement]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@contextmanager
def _database(server: EmbeddedPostgres, template: str | None) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex[:12]}"
    _sql(server, f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
    try:
        yield server.url_of(name)
    finally:
        _sql(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _migrated(postgres: EmbeddedPostgres) -> str:
    from backend.db.migrate import upgrade

    _sql(postgres, "CREATE DATABASE migrated")
    upgrade(postgres.url_of("migrated"))
    return "migrated"


@pytest.fixture(scope="module")
def pg_url(postgres: EmbeddedPostgres, _migrated: str) -> Iterator[str]:
    """The URL of a migrated database that this test module has for itself."""
    with _database(postgres, _migrated) as url:
        yield url


@pytest.fixture
def fresh_pg_url(postgres: EmbeddedPostgres, _migrated: str) -> Iterator[str]:
    """The URL of a migrated database that this one test has for itself."""
    with _database(postgres, _migrated) as url:
        yield url


@pytest.fixture
def empty_pg_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database without any table, for tests of the migrations."""
    with _database(postgres, None) as url:
        yield url


@pytest.fixture
async def db(pg_url: str) -> "AsyncIterator[Database]":
    """The module's database behind a pool of its own loop."""
    from backend.db.engine import Database

    database = Database(pg_url)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def fresh_db(fresh_pg_url: str) -> "AsyncIterator[Database]":
    """A migrated database for this one test, behind a pool."""
    from backend.db.engine import Database

    database = Database(fresh_pg_url)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture
def studio_environment() -> Callable[..., dict[str, str]]:
    """An environment for a process of Zoetrope with nothing of the caller's settings but those given."""

    def environment(**settings: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ZOETROPE_")}
        return clean | {f"ZOETROPE_{name.upper()}": value for name, value in settings.items()}

    return environment
