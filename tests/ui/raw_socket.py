"""The pages' event socket without a browser: what anybody on the network can say to it."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Request, TextMessage

TIMEOUT_S = 10


class RawSocket:
    """One connection, spoken by hand: engine.io inside a websocket."""

    def __init__(self, wire: socket.socket, host: str, token: str, cookie: str) -> None:
        self._wire = wire
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        headers = [(b"cookie", cookie.encode())] if cookie else []
        target = f"/_event/?token={token}&EIO=4&transport=websocket"
        wire.sendall(self._ws.send(Request(host=host, target=target, extra_headers=headers)))
        self.accepted = isinstance(self._next(), AcceptConnection)

    def open_pages(self) -> None:
        """What a page's client says first; returns when it was answered."""
        self.wait_for("0{")
        self.say("40/_event,")
        self.wait_for("40/_event,")

    def fire(self, name: str, *, query: dict[str, str] | None = None, payload: object = None) -> None:
        """An event, as the pages send them."""
        router = {"pathname": "/", "asPath": "/", "query": query or {}}
        self.send({"name": name, "payload": {} if payload is None else payload, "router_data": router})

    def send(self, event: object) -> None:
        """Anything in place of an event."""
        self.say("42/_event," + json.dumps(["event", event]))

    def say(self, text: str) -> None:
        self._wire.sendall(self._ws.send(TextMessage(data=text)))

    def wait_for(self, start: str) -> str:
        """The next message that starts so; raises `ConnectionError` when the socket is closed instead."""
        text = ""
        while True:
            event = self._next()
            if isinstance(event, CloseConnection):
                raise ConnectionError(str(event.code))
            if isinstance(event, TextMessage | BytesMessage):
                text += str(event.data)
                if event.message_finished:
                    if text.startswith(start):
                        return text
                    text = ""

    def _next(self) -> Event | None:
        while not self._events:
            data = self._wire.recv(65536)
            if not data:
                return CloseConnection(code=1006)
            try:
                self._ws.receive_data(data)
            except Exception:  # noqa: BLE001  # an answer that is no websocket's: refused
                return None
            self._events = list(self._ws.events())
        return self._events.pop(0)


@contextmanager
def raw_socket(url: str, *, token: str, cookie: str = "") -> Iterator[RawSocket]:
    """Open a socket to the studio at `url`."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as wire:  # type: ignore[arg-type]  # an address has both
        yield RawSocket(wire, parts.netloc, token, cookie)
