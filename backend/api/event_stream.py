"""Server-sent events, so many a person at once: each holds a connection, and reads its job again at every change."""

from collections.abc import AsyncIterable
from datetime import timedelta

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from backend.domain.errors import RateLimited
from backend.live import Seats

MOST_A_PERSON = 20
"""In one web process; more tabs and programs than anyone looks at."""


class EventStream(StreamingResponse):
    """The events, while a seat is free for this person. Answers 429 otherwise."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterable[str], *, seats: Seats, person: str) -> None:
        super().__init__(events, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._seats = seats
        self._person = person

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them. The seat is taken here and not in the route, since a client may be gone before this begins."""
        with self._seats.take(self._person, most=MOST_A_PERSON) as taken:
            if not taken:
                raise RateLimited(
                    f"{MOST_A_PERSON} event streams of yours are open: close one, or ask for the video now and then.",
                    retry_after=timedelta(seconds=30),
                )
            await super().__call__(scope, receive, send)
