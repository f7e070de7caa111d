"""The bell that rings when outbox rows are committed. Only a wake-up: whoever waits also polls."""

import asyncio
from types import TracebackType
from typing import Any, Self

import asyncpg

from backend.db.outbox import CHANNEL
from backend.domain.events import Consumer
from backend.ending import end_tasks
from backend.log import get_logger

log = get_logger(__name__)


class OutboxBell:
    """LISTENs on its own connection and rings for the consumers it was told of; reconnects for ever."""

    def __init__(self, url: str, consumers: frozenset[Consumer]) -> None:
        self._url = "postgresql" + url[url.index("://") :]
        self._consumers = consumers
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end_tasks(self._task, within_s=2)

    def ring(self) -> None:
        """Ring from inside this process."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when it rings, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            return
        finally:
            self._rung.clear()

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        if payload in self._consumers:
            self._rung.set()

    async def _listen(self) -> None:
        delay_s = 0.1
        while True:
            try:
                connection = await asyncpg.connect(self._url, timeout=10)
            except (OSError, asyncpg.PostgresError, TimeoutError) as error:
                log.warning("outbox.bell_away", error=type(error).__name__)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, 3.0)
                continue
            try:
                delay_s = 0.1
                closed = asyncio.Event()
                connection.add_termination_listener(lambda _connection, closed=closed: closed.set())
                await connection.add_listener(CHANNEL, self._heard)
                self._rung.set()
                await closed.wait()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("outbox.bell_cut", error=type(error).__name__)
            finally:
                connection.terminate()
