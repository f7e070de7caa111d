"""`/v1/videos` by the unmodified `openai` client, over a real socket, on a real database."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
from PIL import Image
from sqlalchemy import text

from backend.api.event_stream import MOST_A_PERSON
from backend.clock import SystemClock
from backend.db.engine import Database
from backend.embedded_valkey import EmbeddedValkey
from backend.ids import IdPrefix, new_id, new_trace_id
from backend.part_heartbeat import KEPT, PARTS_HEARD, PREFIX
from backend.recipes.mini import MINI
from backend.services.create_api_key import create_api_key_for
from backend.services.create_user import create_user
from backend.services.grant_credits import grant_credits
from backend.settings import Settings
from backend.storage import open_storage
from backend.studio import Studio
from backend.wakeups import Wakeups, connect
from tests.conftest import short_folder
from tests.integration.served_api import serve_api

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

PROMPT = "a red circle moving right on a blue background"


@dataclass(frozen=True, kw_only=True)
class Api:
    """A served API, and the studio behind it."""

    url: str
    studio: Studio

    async def key(self, *, tier: str = "internal", credit: int = 0, scopes: tuple[str, ...] = ()) -> str:
        email = f"{new_trace_id()}@example.org"
        await create_user(self.studio, email=email, tier=tier)
        if credit:
            await grant_credits(self.studio, email=email, amount=credit)
        return await create_api_key_for(
            self.studio, email=email, scopes=scopes or ("videos:read", "videos:write")
        )

    def client(self, key: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key)

    def http(self, key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=30)

    async def sql(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        async with self.studio.db.transaction() as session:
            result = await session.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    async def complete(self, video_id: str, state: str = "released") -> None:
        """As if a worker, the classifier and publish had done their parts."""
        for kind, name, kind_of in (
            ("video", "clip.mp4", "video/mp4"),
            ("thumbnail", "thumbnail.webp", "image/webp"),
            ("spritesheet", "spritesheet.webp", "image/webp"),
        ):
            key = f"jobs/{video_id}/1/{name}"
            await self.studio.storage.put_bytes(key, f"{kind} of {video_id}".encode())
            await self.sql(
                "INSERT INTO artifacts (id, job_id, kind, fence, key, sha256, size_bytes, content_type, state,"
                " width, height, num_frames, fps, duration_s)"
                " VALUES (:id, :job, :kind, 1, :key, '', 1, :type, :state, 1, 1, 1, 1, 1)",
                id=new_id(IdPrefix.ARTIFACT), job=video_id, kind=kind, key=key, type=kind_of, state=state,
            )  # fmt: skip
        if state == "released":
            await self.sql(
                "UPDATE jobs SET state = 'completed', version = version + 1, steps_done = steps, charged = quoted,"
                " started_at = now(), ended_at = now(), rendered_at = now() WHERE id = :id",
                id=video_id,
            )
        await self.studio.wakeups.account_changed("*", video_id)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.fixture(scope="module")
def served(folder: Path, pg_url: str, _valkey: EmbeddedValkey) -> Iterator[str]:
    import os

    def environment(**settings: str) -> dict[str, str]:
        return dict(os.environ) | {f"ZOETROPE_{name.upper()}": value for name, value in settings.items()}

    with serve_api(environment, folder, database_url=pg_url, redis_url=_valkey.url) as url:
        yield url


@pytest.fixture
async def api(served: str, folder: Path, pg_url: str, valkey_url: str) -> AsyncIterator[Api]:
    settings = Settings(
        data_dir=folder / "data", database_url=pg_url, redis_url=valkey_url, control_url=served
    )
    studio = Studio(
        settings=settings,
        db=Database(pg_url, pool_size=2),
        storage=open_storage(settings),
        wakeups=Wakeups(connect(valkey_url)),
        clock=SystemClock(),
    )
    yield Api(url=served, studio=studio)
    await studio.close()


def picture(size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, kind)
    return out.getvalue()


async def test_a_video_is_created_polled_and_downloaded_by_the_unmodified_client(api: Api) -> None:
    client = api.client(await api.key())

    async def finish() -> None:
        while True:
            page = await client.videos.list()
            if page.data:
                await api.complete(page.data[0].id)
                return
            await asyncio.sleep(0.05)

    finishing = asyncio.create_task(finish())
    video = await client.videos.create_and_poll(
        prompt=PROMPT, model="mini", seconds="2", size=str(MINI.sizes[0])
    )  # type: ignore[arg-type]  # values of ours
    await finishing
    assert (video.status, video.progress, video.object) == ("completed", 100, "video")
    assert (video.seconds, video.size, video.model, video.prompt) == ("2", str(MINI.sizes[0]), "mini", PROMPT)
    for variant in ("video", "thumbnail", "spritesheet"):
        content = await client.videos.download_content(video.id, variant=variant)  # type: ignore[arg-type]  # a str
        assert content.content == f"{variant} of {video.id}".encode()


def test_the_sync_client_works_as_well(served: str, folder: Path, pg_url: str, valkey_url: str) -> None:
    made: dict[str, str] = {}

    def prepare() -> None:
        async def make() -> None:
            settings = Settings(data_dir=folder / "data", database_url=pg_url, redis_url=valkey_url)
            studio = Studio(
                settings=settings,
                db=Database(pg_url, pool_size=1),
                storage=open_storage(settings),
                wakeups=Wakeups(connect(valkey_url)),
                clock=SystemClock(),
            )
            made["key"] = await Api(url=served, studio=studio).key()
            await studio.close()

        asyncio.run(make())

    thread = threading.Thread(target=prepare)
    thread.start()
    thread.join()
    client = openai.OpenAI(base_url=f"{served}/v1", api_key=made["key"])
    video = client.videos.create(prompt=PROMPT)
    assert client.videos.retrieve(video.id).status == "queued"
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError) as missing:
        client.videos.retrieve(video.id)
    assert missing.value.request_id


async def test_a_new_video_says_what_it_costs_and_where_it_stands(api: Api) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", files={"prompt": (None, PROMPT), "seed": (None, "7")})
        assert answer.status_code == 200, answer.text
        video = answer.json()
        assert (video["status"], video["progress"], video["state"], video["seed"]) == (
            "queued",
            0,
            "queued",
            7,
        )
        assert video["cost"]["quoted"] == video["cost"]["held"] > 0
        assert video["cost"]["charged"] is None
        assert video["moderation"] == {"state": "pending", "clause": None}
        assert isinstance(video["created_at"], int)
        assert int(answer.headers["openai-poll-after-ms"]) >= 500
        assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "body",
    [
        {"files": {"prompt": (None, PROMPT), "seed": (None, "5"), "guidance_scale": (None, "1.5")}},
        {"json": {"prompt": PROMPT, "seed": 5, "guidance_scale": 1.5, "negative_prompt": None}},
        {"data": {"prompt": PROMPT, "seed": "5", "guidance_scale": "1.5"}},
    ],
    ids=["multipart", "json", "urlencoded"],
)
async def test_each_encoding_says_the_same(api: Api, body: dict[str, object]) -> None:
    async with api.http(await api.key()) as http:
        video = (await http.post("/v1/videos", **body)).json()  # type: ignore[arg-type]  # httpx' own keywords
        assert (video["prompt"], video["seed"], video["guidance_scale"]) == (PROMPT, 5, 1.5)


async def test_extra_body_arrives(api: Api) -> None:
    client = api.client(await api.key())
    video = await client.videos.create(prompt=PROMPT, extra_body={"seed": 11, "num_inference_steps": 8})
    assert (video.model_extra or {})["seed"] == 11
    assert (video.model_extra or {})["num_inference_steps"] == 8


@pytest.mark.parametrize("way", ["file", "bracketed", "json", "upload"])
async def test_an_image_comes_as_file_data_url_or_upload(api: Api, way: str) -> None:
    import base64

    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    async with api.http(await api.key()) as http:
        match way:
            case "file":
                answer = await http.post(
                    "/v1/videos",
                    data={"prompt": PROMPT},
                    files={"input_reference": ("a.png", picture(), "image/png")},
                )
            case "bracketed":
                answer = await http.post(
                    "/v1/videos", files={"prompt": (None, PROMPT), "input_reference[image_url]": (None, url)}
                )
            case "json":
                answer = await http.post(
                    "/v1/videos", json={"prompt": PROMPT, "input_reference": {"image_url": url}}
                )
            case _:
                upload = (
                    await http.post("/uploads", files={"file": ("a.png", picture(), "image/png")})
                ).json()
                assert (upload["width"], upload["height"]) == (64, 48)
                answer = await http.post(
                    "/v1/videos", json={"prompt": PROMPT, "input_reference": {"file_id": upload["id"]}}
                )
        assert answer.status_code == 200, answer.text
        rows = await api.sql("SELECT spec FROM jobs WHERE id = :id", id=answer.json()["id"])
    conditioning = dict(rows[0][0])["conditioning"]  # type: ignore[call-overload]  # JSON
    assert len(conditioning) == 1


@pytest.mark.parametrize(
    ("fields", "param", "named"),
    [
        ({"prompt": ""}, "prompt", "empty"),
        ({}, "prompt", "empty"),
        ({"prompt": "x" * 501}, "prompt", "500"),
        ({"prompt": PROMPT, "size": "720x1280"}, "size", str(MINI.sizes[0])),
        ({"prompt": PROMPT, "seconds": "8"}, "seconds", "2"),
        ({"prompt": PROMPT, "model": "sora-2"}, "model", "mini"),
        ({"prompt": PROMPT, "num_inference_steps": "1"}, "num_inference_steps", "4"),
        ({"prompt": PROMPT, "seed": "-1"}, "seed", "2147483647"),
        ({"prompt": PROMPT, "seed": "seven"}, "seed", "number"),
        ({"prompt": PROMPT, "seed": "1e400"}, "seed", "number"),
        ({"prompt": PROMPT, "seed": "0.5"}, "seed", "whole"),
        ({"prompt": PROMPT, "guidance_scale": "NaN"}, "guidance_scale", "number"),
        ({"prompt": PROMPT, "fps": "30"}, "fps", "8"),
        ({"prompt": PROMPT, "n": "2"}, "n", "1"),
        ({"prompt": PROMPT, "promt": "x"}, "promt", "prompt"),
        ({"prompt": PROMPT, "input_reference[file_id]": "up_1"}, "input_reference[file_id]", "upload"),
        (
            {"prompt": PROMPT, "input_reference[image_url]": "http://10.0.0.1/x.png"},
            "input_reference",
            "data:",
        ),
        ({"prompt": PROMPT, "input_reference[image_url]": "file:///etc/passwd"}, "input_reference", "data:"),
        (
            {"prompt": PROMPT, "input_reference[image_url]": "data:image/png;base64,!"},
            "input_reference",
            "base64",
        ),
    ],
)
async def test_a_bad_field_is_a_400_that_names_it_and_what_would_be_right(
    api: Api, fields: dict[str, str], param: str, named: str
) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", json=fields)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
        assert named in error["message"]
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b"nonsense",
        b'{"prompt": {"a": {"b": 1}}}',
        b'{"prompt": "\\ud800"}',
        b"[" * 100_000,
    ],
)
async def test_a_body_that_cannot_be_read_is_a_400(api: Api, body: bytes) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
        form = {"content-type": "multipart/form-data"}
        assert (await http.post("/v1/videos", content=body, headers=form)).status_code == 400


async def test_errors_are_the_clients_own_exceptions(api: Api) -> None:
    client = api.client(await api.key())
    with pytest.raises(openai.BadRequestError) as bad:
        await client.videos.create(prompt=PROMPT, seconds="12")
    assert bad.value.param == "seconds"
    assert bad.value.request_id
    with pytest.raises(openai.NotFoundError):
        await client.videos.retrieve(new_id(IdPrefix.VIDEO))
    with pytest.raises(openai.AuthenticationError):
        await api.client("sk-zt-unknown").videos.list()


async def test_a_prompt_against_the_rules_is_a_400_with_its_clause_and_makes_no_job(api: Api) -> None:
    client = api.client(await api.key())
    with pytest.raises(openai.BadRequestError) as blocked:
        await client.videos.create(prompt="sexual video of a child")
    assert blocked.value.code == "moderation_blocked"
    assert isinstance(blocked.value.body, dict)
    assert blocked.value.body["clause"]
    assert (await client.videos.list()).data == []


async def test_an_empty_balance_is_a_402_that_is_not_retried(api: Api) -> None:
    async with api.http(await api.key(tier="free")) as http:
        await api.sql("UPDATE grants SET expires_at = now() WHERE source = 'monthly'")
        answer = await http.post("/v1/videos", json={"prompt": PROMPT})
        assert (answer.status_code, answer.headers["x-should-retry"]) == (402, "false")
        assert answer.json()["error"]["code"] == "insufficient_credits"
        assert (await http.get("/v1/videos")).json()["data"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/videos"),
        ("POST", "/v1/videos"),
        ("GET", "/v1/videos/video_x"),
        ("DELETE", "/v1/videos/video_x"),
        ("POST", "/v1/videos/video_x/cancel"),
        ("GET", "/v1/videos/video_x/content"),
        ("GET", "/v1/videos/video_x/events"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/mini"),
        ("POST", "/uploads"),
    ],
)
async def test_nobody_gets_nothing_but_a_401(api: Api, method: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=api.url) as http:
        for headers in (
            {},
            {"authorization": "Bearer sk-zt-x"},
            {"authorization": "Basic eA=="},
            {"cookie": "zoetrope_session=x"},
        ):
            answer = await http.request(method, path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_another_accounts_video_is_not_there_for_anything(api: Api) -> None:
    owner, stranger = await api.key(), await api.key()
    video = await api.client(owner).videos.create(prompt=PROMPT)
    await api.complete(video.id)
    async with api.http(stranger) as http:
        for method, path in (
            ("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/content"), ("GET", "/events"),
        ):  # fmt: skip
            assert (await http.request(method, f"/v1/videos/{video.id}{path}")).status_code == 404
        assert (await http.get("/v1/videos", params={"after": video.id})).status_code == 404
        assert (await http.get("/v1/videos")).json()["data"] == []
    assert (await api.client(owner).videos.retrieve(video.id)).status == "completed"


@pytest.mark.parametrize(
    "video_id", ["x", "video_x", "%00", "video_" + "z" * 26, "..%2f..", "video_%F0%9F%92%A9"]
)
async def test_odd_ids_are_not_found(api: Api, video_id: str) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.get(f"/v1/videos/{video_id}")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


async def test_a_key_does_what_its_scopes_say(api: Api) -> None:
    reader = api.client(await api.key(scopes=("videos:read",)))
    assert (await reader.videos.list()).data == []
    with pytest.raises(openai.PermissionDeniedError, match="videos:write"):
        await reader.videos.create(prompt=PROMPT)


async def test_every_page_is_reached_both_ways(api: Api) -> None:
    client = api.client(await api.key())
    made = [(await client.videos.create(prompt=f"{PROMPT} {i}")).id for i in range(5)]
    for order, expected in (("desc", made[::-1]), ("asc", made)):
        assert [v.id async for v in await client.videos.list(limit=2, order=order)] == expected  # type: ignore[arg-type]  # a str
    async with api.http(client.api_key) as http:
        page = (await http.get("/v1/videos", params={"limit": 2})).json()
        assert (page["object"], page["has_more"]) == ("list", True)
        assert (page["first_id"], page["last_id"]) == (made[4], made[3])
        for params, said in (
            ({"limit": 0}, "limit must be at least 1."),
            ({"limit": 101}, "limit must be at most 100."),
            ({"limit": "x"}, "limit must be a whole number."),
            ({"order": "up"}, "order must be 'asc' or 'desc'."),
            ({"after": "x" * 101}, "after must have at most 100 characters."),
        ):
            answer = await http.get("/v1/videos", params=params)  # type: ignore[arg-type]  # numbers and words
            assert (answer.status_code, answer.json()["error"]["message"]) == (400, said)


async def test_nothing_is_fetched_before_release_nor_after(api: Api) -> None:
    key = await api.key()
    video = await api.client(key).videos.create(prompt=PROMPT)
    async with api.http(key) as http:
        path = f"/v1/videos/{video.id}/content"
        early = await http.get(path)
        assert (early.status_code, early.headers["x-should-retry"]) == (404, "false")
        await api.complete(video.id, state="withheld")
        for variant in ("video", "thumbnail", "spritesheet"):
            assert (await http.get(path, params={"variant": variant})).status_code == 404
        await api.sql("UPDATE artifacts SET state = 'released' WHERE job_id = :id", id=video.id)
        there = await http.get(path)
        assert there.status_code == 302
        await api.sql("UPDATE artifacts SET state = 'taken_down' WHERE job_id = :id", id=video.id)
        gone = await http.get(path)
        assert gone.status_code == 404
        assert "taken down" in gone.json()["error"]["message"]
        assert (await http.get(path, params={"variant": "other"})).status_code == 400


async def test_a_download_resumes_by_range(api: Api) -> None:
    key = await api.key()
    video = await api.client(key).videos.create(prompt=PROMPT)
    await api.complete(video.id)
    async with api.http(key) as http:
        part = await http.get(
            f"/v1/videos/{video.id}/content", headers={"range": "bytes=0-4"}, follow_redirects=True
        )
        assert (part.status_code, part.content) == (206, b"video")


async def test_cancel_and_delete_give_the_credits_back(api: Api) -> None:
    key = await api.key()
    client = api.client(key)
    async with api.http(key) as http:
        first = await client.videos.create(prompt=PROMPT)
        cancelled = (await http.post(f"/v1/videos/{first.id}/cancel")).json()
        assert (cancelled["status"], cancelled["error"]["code"]) == ("failed", "cancelled")
        assert cancelled["cost"] == {"quoted": cancelled["cost"]["quoted"], "held": 0, "charged": 0}
        assert (await http.post(f"/v1/videos/{first.id}/cancel")).status_code == 200
        second = await client.videos.create(prompt=PROMPT)
        assert (await client.videos.delete(second.id)).deleted
        holds = await api.sql(
            "SELECT state FROM holds WHERE job_id IN (:one, :two)", one=first.id, two=second.id
        )
        assert holds == [("released",), ("released",)]


async def test_one_key_makes_one_job_and_another_body_a_422(api: Api) -> None:
    key = await api.key()
    async with api.http(key) as http:
        headers = {"idempotency-key": "render-1"}
        posts = await asyncio.gather(
            *(http.post("/v1/videos", json={"prompt": PROMPT}, headers=headers) for _ in range(10))
        )
        assert {post.status_code for post in posts} == {200}
        assert len({post.json()["id"] for post in posts}) == 1
        other = await http.post("/v1/videos", json={"prompt": "something else"}, headers=headers)
        assert (other.status_code, other.headers["x-should-retry"]) == (422, "false")


async def test_a_retry_of_the_client_finds_its_first_job_in_any_encoding(api: Api) -> None:
    async with api.http(await api.key()) as http:
        image = {"input_reference": ("a.png", picture(), "image/png")}
        first = (await http.post("/v1/videos", data={"prompt": PROMPT}, files=image)).json()["id"]
        again = {"x-stainless-retry-count": "1"}
        retried = await http.post("/v1/videos", data={"prompt": PROMPT}, files=image, headers=again)
        assert retried.json()["id"] == first
        fresh = await http.post("/v1/videos", data={"prompt": PROMPT}, files=image)
        assert fresh.json()["id"] != first


async def test_events_stream_each_change_until_the_end(api: Api) -> None:
    key = await api.key()
    video = await api.client(key).videos.create(prompt=PROMPT)
    seen: list[tuple[str, int]] = []
    async with api.http(key) as http, http.stream("GET", f"/v1/videos/{video.id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            if not line.startswith("data: "):
                continue
            said = json.loads(line.removeprefix("data: "))
            seen.append((said["status"], said["progress"]))
            if len(seen) == 1:
                await api.sql(
                    "UPDATE jobs SET state = 'running', started_at = now(), steps_done = steps / 2 WHERE id = :id",
                    id=video.id,
                )
                ((account,),) = await api.sql("SELECT account_id FROM jobs WHERE id = :id", id=video.id)
                await api.studio.wakeups.account_changed(str(account), video.id)
            elif len(seen) == 2:
                await api.complete(video.id)
    assert seen == [("queued", 0), ("in_progress", 49), ("completed", 100)]


async def test_a_stream_ends_when_its_key_is_revoked(api: Api) -> None:
    key = await api.key()
    video = await api.client(key).videos.create(prompt=PROMPT)
    lines: list[str] = []
    async with api.http(key) as http, http.stream("GET", f"/v1/videos/{video.id}/events") as stream:
        async for line in stream.aiter_lines():
            lines.append(line)
            if line.startswith("data: ") and len(lines) < 5:
                await api.sql(
                    "UPDATE api_keys SET revoked_at = now() WHERE hint = :hint", hint=f"sk-zt-…{key[-4:]}"
                )
    assert "event: gone" in lines


async def test_a_person_has_so_many_event_streams_and_no_more(api: Api) -> None:
    key, other = await api.key(), await api.key()
    video = await api.client(key).videos.create(prompt=PROMPT)
    events = f"/v1/videos/{video.id}/events"
    async with AsyncExitStack() as open_streams, api.http(key) as http:
        for _ in range(MOST_A_PERSON):
            stream = await open_streams.enter_async_context(http.stream("GET", events))
            assert stream.status_code == 200
        refused = await http.get(events)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert int(refused.headers["retry-after"]) > 0
        theirs = await api.client(other).videos.create(prompt=PROMPT)
        async with (
            api.http(other) as http_of_other,
            http_of_other.stream("GET", f"/v1/videos/{theirs.id}/events") as stream,
        ):
            assert stream.status_code == 200
    async with api.http(key) as http:
        end = asyncio.get_running_loop().time() + 20
        while True:  # until the server noticed that the others were closed
            async with http.stream("GET", events) as stream:
                if stream.status_code == 200:
                    break
            assert asyncio.get_running_loop().time() < end


async def test_a_quote_says_the_price_and_stores_nothing(api: Api) -> None:
    key = await api.key()
    async with api.http(key) as http:
        quoted = await http.post("/v1/videos/quote", json={"prompt": PROMPT, "num_inference_steps": 40})
        assert quoted.status_code == 200
        video = (await http.post("/v1/videos", json={"prompt": PROMPT, "num_inference_steps": 40})).json()
        said = quoted.json()
        assert said["credits"] == video["cost"]["quoted"]
        assert said["affordable"]
        assert (said["model"], said["size"], said["seconds"]) == ("mini", video["size"], video["seconds"])
        # Nobody leads here: nobody knows a wait, so none is made up and no draft is offered.
        assert (said["eta"], said["draft"]) == (None, None)
        assert len((await http.get("/v1/videos")).json()["data"]) == 1
        for wrong, field in (
            ({"size": "1x1"}, "size"),
            ({"draft": "always"}, "draft"),
            ({"prompt": ""}, "prompt"),
        ):
            for path in ("/v1/videos/quote", "/v1/videos"):
                refused = await http.post(path, json={"prompt": PROMPT, **wrong})
                assert refused.status_code == 400
                assert refused.json()["error"]["param"] == field
    async with api.http("sk-zt-wrong") as stranger:
        assert (await stranger.post("/v1/videos/quote", json={"prompt": PROMPT})).status_code == 401


async def test_a_quote_refuses_the_images_that_a_job_would_be_refused_for(api: Api, tmp_path: Path) -> None:
    other = await api.key()
    key = await api.key()
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(out, "PNG")
    async with api.http(other) as http:
        theirs = (await http.post("/uploads", files={"file": ("a.png", out.getvalue(), "image/png")})).json()[
            "id"
        ]
    async with api.http(key) as http:
        given = (await http.post("/uploads", files={"file": ("a.png", out.getvalue(), "image/png")})).json()[
            "id"
        ]
        for image in (
            {"image_url": "http://127.0.0.1/a.png"},
            {"image_url": "file:///etc/passwd"},
            {"image_url": "data:image/png;base64"},
            {"image_url": "data:image/png;base64,?"},
            {"image_url": "data:image/png;base64,aGVsbG8="},
            {"file_id": "up_x"},
            {"file_id": new_id(IdPrefix.UPLOAD)},
            {"file_id": theirs},
        ):
            said = []
            for path in ("/v1/videos/quote", "/v1/videos"):
                answer = await http.post(path, json={"prompt": PROMPT, "input_reference": image})
                assert answer.status_code == 400, (path, image)
                said.append({**answer.json()["error"]})
            assert said[0]["message"] == said[1]["message"], image
            assert said[0]["param"] == said[1]["param"], image
        for path in ("/v1/videos/quote", "/v1/videos"):
            text = {"input_reference": ("a.png", b"no image", "image/png")}
            assert (await http.post(path, data={"prompt": PROMPT}, files=text)).status_code == 400
        before = await api.sql("SELECT count(*) FROM uploads")
        image_file = {"input_reference": ("a.png", out.getvalue() + b"x", "image/png")}
        taken = await http.post("/v1/videos/quote", data={"prompt": PROMPT}, files=image_file)
        named = await http.post(
            "/v1/videos/quote", json={"prompt": PROMPT, "input_reference": {"file_id": given}}
        )
        assert {taken.status_code, named.status_code} == {200}
        assert await api.sql("SELECT count(*) FROM uploads") == before


async def test_models_say_which_values_are_valid(api: Api) -> None:
    client = api.client(await api.key())
    (model,) = [m async for m in await client.models.list() if m.id == "mini"]
    assert (model.model_extra or {})["sizes"] == [str(size) for size in MINI.sizes]
    assert (await client.models.retrieve("mini")).id == "mini"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("sora-2")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/videos/x/y", "/auth/nothing"])
async def test_an_unknown_path_is_a_json_404(api: Api, path: str) -> None:
    async with httpx.AsyncClient(base_url=api.url) as http:
        answer = await http.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("data", "declared", "status", "said"),
    [
        (b"<html></html>", "image/png", 400, "PNG, JPEG or WebP"),
        (b"", "image/png", 400, "empty"),
        (picture()[:60], "image/png", 400, "broken"),
        (picture(kind="JPEG"), "image/png", 400, "holds a jpeg"),
        (picture(kind="GIF"), "image/gif", 400, "PNG, JPEG or WebP"),
        (picture((8, 8)), "image/png", 400, "at least 16"),
        (b"\x89PNG" + b"0" * (20 * 2**20), "image/png", 413, "20 MB is the limit"),
    ],
    ids=["html", "empty", "cut", "another kind", "gif", "tiny", "large"],
)
async def test_what_is_no_fit_image_is_refused_before_it_is_stored(
    api: Api, data: bytes, declared: str, status: int, said: str
) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/uploads", files={"file": ("a.png", data, declared)})
        assert answer.status_code == status
        assert said in answer.json()["error"]["message"]


async def test_a_decompression_bomb_is_refused(api: Api) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    async with api.http(await api.key()) as http:
        answer = await http.post("/uploads", files={"file": ("a.png", bomb.getvalue(), "image/png")})
        assert answer.status_code == 400
        assert (await http.post("/uploads", files={"file": (None, "text")})).status_code == 400


async def test_an_upload_is_stored_without_what_the_camera_wrote(api: Api) -> None:
    photo = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "secret camera"
    Image.new("RGB", (64, 32), "teal").save(photo, "JPEG", exif=exif)
    async with api.http(await api.key()) as http:
        upload = (
            await http.post("/uploads", files={"file": ("a.jpg", photo.getvalue(), "image/jpeg")})
        ).json()
        again = (
            await http.post("/uploads", files={"file": ("b.jpg", photo.getvalue(), "image/jpeg")})
        ).json()
    assert (upload["width"], upload["height"]) == (32, 64)
    assert again["id"] == upload["id"]
    ((key,),) = await api.sql("SELECT key FROM uploads WHERE id = :id", id=upload["id"])
    stored = await api.studio.storage.get_bytes(str(key), limit_bytes=2**20)
    assert b"secret camera" not in stored
    assert stored.startswith(b"\xff\xd8")


async def test_images_come_at_a_bounded_pace(api: Api) -> None:
    async with api.http(await api.key()) as http:
        first = await http.post("/uploads", files={"file": ("a.png", picture(), "image/png")})
        await api.sql(
            "INSERT INTO uploads (id, account_id, user_id, key, sha256, content_type, width, height, size_bytes)"
            " SELECT id || n, account_id, user_id, key, sha256 || n, content_type, width, height, size_bytes"
            " FROM uploads, generate_series(1, 299) n WHERE id = :id",
            id=first.json()["id"],
        )
        answer = await http.post("/uploads", files={"file": ("b.png", picture((80, 80)), "image/png")})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "600")


async def test_a_body_past_the_limit_is_a_413_announced_or_not(api: Api) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 2**20

    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", content=b" " * (33 * 2**20))
        assert answer.status_code == 413
        answer = await http.post(
            "/v1/videos", content=endless(), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"


async def test_readiness_names_what_is_away_and_metrics_count_routes(api: Api) -> None:
    redis = api.studio.wakeups.redis
    await redis.delete(*(PREFIX + part for part in PARTS_HEARD))
    async with httpx.AsyncClient(base_url=api.url) as http:
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"] == {
            "database": "ok", "valkey": "ok", "storage": "ok",
            "control": "never heard", "moderator": "never heard", "worker": "no live worker",
        }  # fmt: skip
        await api.sql("INSERT INTO workers (id, memory_gb, recipes, resident) VALUES ('w', 1, '{}', '{}')")
        for part in PARTS_HEARD:
            await redis.set(PREFIX + part, "", px=KEPT)
        async with asyncio.timeout(10):  # an answer is good for a second or two
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        figures = (await http.get("/metrics")).text
        assert 'route="/readyz",status="503"' in figures
        assert (await http.get("/metrics", headers={"x-forwarded-for": "1.2.3.4"})).status_code == 404


async def test_the_description_of_the_api_can_be_read(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url) as http:
        paths = (await http.get("/v1/openapi.json")).json()["paths"]
    assert {"/v1/videos", "/v1/videos/{video_id}", "/v1/models"} <= set(paths)
