"""What a retry of the openai client makes or finds: a job for each first try, and never one more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from backend.clock import SystemClock
from backend.db.engine import Database
from backend.embedded_valkey import EmbeddedValkey
from backend.ending import end_tasks
from backend.settings import Settings
from backend.storage import open_storage
from backend.studio import Studio
from backend.wakeups import Wakeups, connect
from tests.integration.served_api import serve_api
from tests.integration.test_video_routes import PROMPT, Api, api, folder, picture, served

__all__ = ["api", "folder", "served"]

AGAIN = {"x-stainless-retry-count": "1"}
QUEUE = 10  # of the free tier


async def _create(http: httpx.AsyncClient, prompt: str = PROMPT, **headers: str) -> httpx.Response:
    return await http.post("/v1/videos", data={"prompt": prompt}, headers=headers)


async def _made(http: httpx.AsyncClient, prompt: str = PROMPT, **headers: str) -> str:
    answer = await _create(http, prompt, **headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def _jobs(http: httpx.AsyncClient) -> list[str]:
    return [video["id"] for video in (await http.get("/v1/videos", params={"limit": 100})).json()["data"]]


async def test_a_retry_of_a_refused_try_makes_its_job_and_its_own_retry_finds_it(api: Api) -> None:
    key = await api.key(tier="free", credit=100_000)
    async with api.http(key) as http:
        first = await _made(http)
        others = [await _made(http, f"{PROMPT}, number {number}") for number in range(QUEUE - 1)]
        refused = await _create(http)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_limit_reached")
        assert (await _create(http, **AGAIN)).status_code == 429
        for other in others[:3]:
            await http.post(f"/v1/videos/{other}/cancel")
        second = await _made(http, **AGAIN)
        assert second not in {first, *others}
        assert await _made(http, **{"x-stainless-retry-count": "2"}) == second
        assert len(await _jobs(http)) == QUEUE + 1


async def test_a_try_that_was_given_up_is_no_second_job_when_a_later_answer_is_lost(api: Api) -> None:
    key = await api.key(tier="free", credit=100_000)
    async with api.http(key) as http:
        others = [await _made(http, f"{PROMPT}, number {number}") for number in range(QUEUE)]
        assert (await _create(http)).status_code == 429
        assert (await _create(http, **AGAIN)).status_code == 429
        for other in others[:3]:
            await http.post(f"/v1/videos/{other}/cancel")
        made = await _made(http)
        assert await _made(http, **AGAIN) == made
        assert len(await _jobs(http)) == QUEUE + 1


async def test_as_many_first_tries_as_are_refused_make_as_many_jobs_by_their_retries(api: Api) -> None:
    key = await api.key(tier="free", credit=100_000)
    async with api.http(key) as http:
        answers = [await _create(http) for _ in range(QUEUE + 3)]
        made = {answer.json()["id"] for answer in answers if answer.status_code == 200}
        assert len(made) == QUEUE
        for job_id in sorted(made)[:3]:
            await http.post(f"/v1/videos/{job_id}/cancel")
        retried = await asyncio.gather(*(_made(http, **AGAIN) for _ in range(3)))
        assert len({*retried} - made) == 3
        assert await _made(http, **AGAIN) in retried


async def test_a_job_that_is_gone_is_no_answer_to_a_retry(api: Api) -> None:
    async with api.http(await api.key()) as http:
        first = await _made(http)
        assert (await http.delete(f"/v1/videos/{first}")).status_code == 200
        second = await _made(http, **AGAIN)
        assert second != first
        assert (await http.post(f"/v1/videos/{second}/cancel")).status_code == 200
        third = await _made(http, **AGAIN)
        assert third not in {first, second}
        assert await _made(http, **AGAIN) == third


async def test_a_key_whose_job_was_deleted_makes_another_once(api: Api) -> None:
    key = {"idempotency-key": "render-1"}
    async with api.http(await api.key()) as http:
        first = await _made(http, **key)
        assert (await http.delete(f"/v1/videos/{first}")).status_code == 200
        again = await asyncio.gather(*(_made(http, **key) for _ in range(5)))
        assert len(set(again)) == 1
        assert first not in again
        assert (await _create(http, "something else", **key)).status_code == 422
        # A cancelled one is still there to be answered with.
        await http.post(f"/v1/videos/{again[0]}/cancel")
        assert await _made(http, **key) == again[0]


class PostgresRelay:
    """A way to Postgres that can be cut, as its death cuts it."""

    def __init__(self, url: str) -> None:
        folder = parse_qs(urlsplit(url).query)["host"][0]
        self._socket = f"{folder}/.s.PGSQL.5432"
        self._database = urlsplit(url).path
        self._links: set[asyncio.StreamWriter] = set()
        self.away = False
        self.cut_at_commit = False

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://zoetrope@127.0.0.1:{port}{self._database}"

    def cut(self) -> None:
        self.away = True
        for writer in self._links:
            writer.transport.abort()

    async def stop(self) -> None:
        self._server.close()
        self.cut()
        async with asyncio.timeout(5):
            while self._links:
                await asyncio.sleep(0.01)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.add(writer)
        try:
            if not self.away:
                back, forth = await asyncio.open_unix_connection(self._socket)
                ways = [
                    asyncio.create_task(self._carry(reader, forth)),
                    asyncio.create_task(self._carry(back, writer)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                await end_tasks(*ways, within_s=1)
                forth.close()
        finally:
            self._links.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(2**16):
                writer.write(piece)
                await writer.drain()
                if self.cut_at_commit and b"COMMIT;\0" in piece:
                    self.away = True
                    return


@pytest.fixture
async def cuttable(
    folder: Path,
    pg_url: str,
    _valkey: EmbeddedValkey,
    valkey_url: str,
    studio_environment: Callable[..., dict[str, str]],
) -> AsyncIterator[tuple[Api, PostgresRelay]]:
    """A served API whose way to Postgres can be cut; the studio beside it has a way of its own."""
    relay = PostgresRelay(pg_url)
    place = folder / "cuttable"
    place.mkdir(exist_ok=True)
    settings = Settings(data_dir=place / "data", database_url=pg_url, redis_url=valkey_url)
    studio = Studio(
        settings=settings,
        db=Database(pg_url, pool_size=2),
        storage=open_storage(settings),
        wakeups=Wakeups(connect(valkey_url)),
        clock=SystemClock(),
    )
    url = await relay.start()
    with serve_api(studio_environment, place, database_url=url, redis_url=_valkey.url) as base_url:
        yield Api(url=base_url, studio=studio), relay
        # While the server still runs: it hands back its connections as it stops, and this loop carries none then.
        await relay.stop()
    await studio.close()


async def _back(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await http.get("/v1/videos")).status_code != 200:
            await asyncio.sleep(0.05)


async def test_a_retry_of_what_no_database_heard_of_makes_its_job(
    cuttable: tuple[Api, PostgresRelay],
) -> None:
    api, relay = cuttable
    async with api.http(await api.key()) as http:
        image = {"input_reference": ("a.png", picture(), "image/png")}

        async def ask(**headers: str) -> httpx.Response:
            return await http.post("/v1/videos", data={"prompt": PROMPT}, files=image, headers=headers)

        first = [await _made(http), (await ask()).json()["id"]]
        relay.cut()
        for answer in (await _create(http), await ask()):
            assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")
        assert (await _create(http, **AGAIN)).status_code == 503
        relay.away = False
        await _back(http)
        second = [await _made(http, **AGAIN), (await ask(**AGAIN)).json()["id"]]
        assert not {*first} & {*second}
        assert [await _made(http, **AGAIN), (await ask(**AGAIN)).json()["id"]] == second
        assert len(await _jobs(http)) == 4


async def test_a_retry_of_what_was_committed_and_not_answered_finds_it(
    cuttable: tuple[Api, PostgresRelay],
) -> None:
    api, relay = cuttable
    async with api.http(await api.key()) as http:
        other = await _made(http, "something else")  # so that its key is known, and its month looked at
        relay.cut_at_commit = True
        assert (await _create(http)).status_code == 503
        relay.cut_at_commit = relay.away = False
        await _back(http)
        job_id, *older = await _jobs(http)
        assert older == [other]
        assert await _made(http, **AGAIN) == job_id
        assert await _jobs(http) == [job_id, other]
