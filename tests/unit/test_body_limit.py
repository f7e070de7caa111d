"""Bodies on their way in: cut when they are too large, and when they take too long."""

import asyncio
import json
from collections.abc import Iterable

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Message

from backend.api.body_limit import Allowance, BodyLimit, allowance

KIB, MIB = 2**10, 2**20


@pytest.mark.parametrize(
    ("path", "kind", "max_bytes"),
    [
        ("/auth/sign-in", "application/json", 16 * KIB),
        ("/auth/sign-in", "multipart/form-data; boundary=x", 16 * KIB),
        ("/v1/videos", "application/json", 12 * MIB),
        ("/v1/videos", "", 12 * MIB),
        ("/v1/videos", "multipart/form-data; boundary=x", 32 * MIB),
        ("/v1/videos", "Application/X-WWW-Form-urlencoded; charset=x", 256 * KIB),
        ("/uploads", "multipart/form-data", 32 * MIB),
        ("/v1/videos/x/cancel", "multipart/form-data", MIB),
        ("/billing/webhooks/stripe", "application/json", MIB),
        ("/gallery", "", MIB),
        ("/objects/jobs/1/clip.mp4", "video/mp4", None),
    ],
)
def test_each_address_has_its_limit(path: str, kind: str, max_bytes: int | None) -> None:
    assert allowance(path, kind).max_bytes == max_bytes


class Form(BaseModel):
    """A body that FastAPI parses before anything else."""

    email: str


def make_app() -> FastAPI:
    app = FastAPI()

    @app.post("/form")
    async def post_form(form: Form) -> str:
        return form.email

    @app.post("/silent")
    async def post_silent() -> StreamingResponse:
        async def pieces() -> Iterable[bytes]:  # type: ignore[misc]  # an async generator
            yield b"first "
            await asyncio.sleep(0.15)
            yield b"last"

        return StreamingResponse(pieces())  # type: ignore[arg-type]  # an async generator

    return app


class Client:
    """Sends pieces, then nothing: the connection stays open."""

    def __init__(self, pieces: Iterable[tuple[bytes, bool]], *, pause_s: float = 0.0) -> None:
        self._pieces = iter(pieces)
        self._pause_s = pause_s
        self.taken = 0
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        await asyncio.sleep(self._pause_s)
        try:
            body, more = next(self._pieces)
        except StopIteration:
            await asyncio.Event().wait()
        self.taken += 1
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def post(self, path: str, allowed: Allowance, *, length: bytes | None = None) -> int:
        headers = [(b"content-type", b"application/json")]
        if length is not None:
            headers.append((b"content-length", length))
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": headers, "scheme": "http", "server": ("test", 80), "client": ("1.2.3.4", 5), "root_path": "",
            "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        }  # fmt: skip
        async with asyncio.timeout(10):
            await BodyLimit(make_app(), lambda _path, _kind: allowed)(scope, self.receive, self.send)
        status: int = self.sent[0]["status"]
        return status

    @property
    def answer(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


SMALL = Allowance(max_bytes=100, within_s=5.0, silence_s=5.0)


async def test_a_body_within_its_limit_arrives() -> None:
    client = Client([(b'{"email":', True), (b'"a@b"}', False)])
    assert await client.post("/form", SMALL) == 200
    assert client.answer == b'"a@b"'


@pytest.mark.parametrize("length", [None, b"101", b"9" * 5000, b"\xb2"])
async def test_a_body_past_its_limit_is_a_413_announced_or_not(length: bytes | None) -> None:
    client = Client([(b" " * 60, True), (b" " * 60, True), (b"", False)])
    assert await client.post("/form", SMALL, length=length) == 413
    assert json.loads(client.answer)["error"]["code"] == "too_large"
    assert client.taken == 3  # read to its end, so that the sender sees the answer


async def test_a_body_that_stops_is_a_408() -> None:
    client = Client([(b'{"email":', True)])
    assert await client.post("/form", Allowance(max_bytes=100, within_s=60, silence_s=0.05)) == 408
    assert json.loads(client.answer)["error"]["code"] == "request_timeout"
    assert (b"connection", b"close") in client.sent[0]["headers"]


async def test_a_body_that_trickles_for_too_long_is_a_408() -> None:
    client = Client([(b" ", True)] * 1000, pause_s=0.01)
    assert await client.post("/form", Allowance(max_bytes=10_000, within_s=0.1, silence_s=60)) == 408
    assert client.taken < 30


async def test_a_refused_body_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.api.body_limit.DRAIN_WITHIN_S", 0.05)
    client = Client([(b"{", True)])
    assert await client.post("/form", SMALL, length=b"999999999") == 413


async def test_an_answer_that_has_begun_is_not_spoilt_by_a_body_that_stops() -> None:
    client = Client([(b"x", True)])
    assert await client.post("/silent", Allowance(max_bytes=100, within_s=60, silence_s=0.05)) == 200
    assert [m["type"] for m in client.sent].count("http.response.start") == 1
    assert client.answer == b"first last"
