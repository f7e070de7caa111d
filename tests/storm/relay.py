"""The way from the workers to the web processes: a relay that tries the next one when one is away, and cuts uploads."""

import asyncio
import contextlib
from collections.abc import Sequence

from backend.ending import end_tasks

_PIECE_BYTES = 64 * 1024
_CONNECT_S = 2.0


class Relay:
    """Listens on a port of its own. `tear_next` cuts the next upload in the middle; `torn` counts them."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._to_tear = 0
        self.torn = 0
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Cut everything."""
        if self._server is not None:
            self._server.close()
        await end_tasks(*self._links, within_s=2)

    def tear_next(self) -> None:
        """Cut one more upload."""
        self._to_tear += 1

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._carry(reader, writer)
        finally:
            self._links.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = await self._reach()
        if found is None:
            return
        back, forth = found
        ways = [
            asyncio.create_task(self._pass_on(reader, forth, may_tear=True)),
            asyncio.create_task(self._pass_on(back, writer, may_tear=False)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(*ways, within_s=1)
            forth.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        # Taken in turn, so that both web processes have work.
        self._ports.append(self._ports.pop(0))
        for port in self._ports:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, may_tear: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE_BYTES):
                if may_tear and self._to_tear and piece.startswith(b"PUT "):
                    self._to_tear -= 1
                    await self._tear(piece, reader, writer)
                    return
                writer.write(piece)
                await writer.drain()

    async def _tear(self, piece: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on the head and half of what follows, and no more."""
        head, _, body = piece.partition(b"\r\n\r\n")
        if not body:
            body = await reader.read(_PIECE_BYTES)
        writer.write(head + b"\r\n\r\n" + body[: max(1, len(body) // 2)])
        await writer.drain()
        self.torn += 1
