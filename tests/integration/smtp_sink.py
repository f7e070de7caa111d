"""A mail server that takes every letter and keeps it."""

import asyncio
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default


class SmtpSink:
    """Speaks enough SMTP for a client to hand letters over."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen on a free port; returns the URL to set."""
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        return f"smtp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                body = await reader.readuntil(b"\r\n.\r\n")
                letter = message_from_bytes(body[:-5], policy=default)
                assert isinstance(letter, EmailMessage)
                self.letters.append(letter)
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            writer.write(b"250 fine\r\n")
        writer.close()
