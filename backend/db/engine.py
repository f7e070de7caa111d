"""The connection pool, and transactions that roll back unless they end well."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Dialect, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlmodel.ext.asyncio.session import AsyncSession

STATEMENT_TIMEOUT_MS = 30_000
LOCK_TIMEOUT_MS = 10_000
_AFTER_COMMIT = "after_commit"


def asyncpg_url(url: str) -> str:
    """A Postgres URL with SQLAlchemy's asyncpg driver, whichever scheme it came with."""
    scheme = urlsplit(url).scheme
    return "postgresql+asyncpg" + url[len(scheme) :]


def after_commit(session: AsyncSession, follow: Callable[[], None]) -> None:
    """Call `follow` once `Database.transaction` has committed this session; never when it rolls back."""
    session.info.setdefault(_AFTER_COMMIT, []).append(follow)


def _refuse_closed(connection: PoolProxiedConnection, *_: object) -> None:
    """A connection that the server ended is replaced before it is used.

    asyncpg knows without asking. `pool_pre_ping` asks, in a transaction of its own: three round trips before each of
    ours, and a seventh of all that an idle control worker did.
    """
    if connection.driver_connection.is_closed():  # type: ignore[union-attr]  # asyncpg's, untyped
        raise DisconnectionError


def _connect(
    dialect: Dialect, _record: ConnectionPoolEntry, values: list[Any], named: dict[str, Any]
) -> DBAPIConnection:
    """A server whose socket is missing, or that doesn't answer in time, is as far away as one that refuses."""
    try:
        return dialect.connect(*values, **named)
    except ConnectionError:
        raise
    except OSError as error:
        raise ConnectionError(f"Postgres can't be reached ({type(error).__name__})") from error


class Database:
    """Postgres. Made once a process; `close` it at the end."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            # Errors would quote prompts and addresses.
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            pool_recycle=1800,
            connect_args={
                "timeout": 10,
                "server_settings": {
                    "application_name": "zoetrope",
                    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                    "lock_timeout": str(LOCK_TIMEOUT_MS),
                    "idle_in_transaction_session_timeout": "60000",
                },
            },
        )
        event.listen(self.engine.sync_engine, "do_connect", _connect)
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._unframed = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            async with session.begin():
                yield session
            for follow in session.info.get(_AFTER_COMMIT, ()):
                follow()

    @asynccontextmanager
    async def single(self) -> AsyncIterator[AsyncSession]:
        """For one statement that is a transaction by itself, committed at once.

        Without BEGIN and COMMIT around it, it takes one round trip instead of three: for what is asked every second.
        """
        async with AsyncSession(self._unframed, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """One transaction for reading, rolled back at its end."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    async def ping(self) -> None:
        """One round trip. Raises what the driver raises when the database is away."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
