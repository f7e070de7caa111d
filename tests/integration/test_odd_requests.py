"""Requests that no client of good will sends: each is refused as what it is, and none keeps others waiting."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from backend.ids import IdPrefix, new_id
from backend.recipes.mini import MINI
from tests.integration.test_video_routes import PROMPT, Api, api, folder, picture, served

__all__ = ["api", "folder", "served"]

HALF = "\\ud800"  # as JSON spells half a surrogate pair
ODD = [HALF, "\\u0000", "a\\u0000b", "\\u200b\\u200d", "²", "٣", "9" * 5000, "x" * 200_000, "%00", "-1e999"]
CREATE = ["prompt", "negative_prompt", "model", "size", "seconds", "seed", "num_inference_steps", "guidance_scale",
          "strength", "fps", "n", "style", "input_reference", "unknown"]  # fmt: skip


@pytest.mark.parametrize("name", CREATE)
async def test_no_odd_value_of_a_field_is_a_server_error(api: Api, name: str) -> None:
    async with api.http(await api.key(credit=100_000)) as http:
        for odd in ODD:
            body = f'{{"{"unused" if name == "prompt" else "prompt"}": "{PROMPT}", "{name}": "{odd}"}}'
            if name == "prompt":
                body = f'{{"prompt": "{odd}"}}'
            answer = await http.post("/v1/videos", content=body, headers={"content-type": "application/json"})
            assert answer.status_code in (200, 400), (odd[:20], answer.text[:300])
            assert len(answer.content) < 2_000 or answer.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        f'{{"prompt": "a red circle", "{HALF}": 1}}',
        f'{{"prompt": "a red circle", "{HALF}": [1]}}',
        f'{{"prompt": "a red circle", "input_reference": {{"{HALF}": "x"}}}}',
        f'{{"prompt": "a red circle", "input_reference": {{"file_id": "{HALF}"}}}}',
        f'{{"prompt": "a red circle", "input_reference": {{"image_url": "data:image/png,{HALF}"}}}}',
        f'{{"prompt": "a red circle", "input_reference": {{"image_url": "data:{HALF},x"}}}}',
        '{"prompt": "a red circle", "seed": NaN}',
        '{"prompt": "a red circle", "guidance_scale": Infinity}',
        f'{{"prompt": "a red circle", "{"x" * 100_000}": 1}}',
    ],
)
async def test_no_odd_body_is_a_server_error(api: Api, body: str) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text[:300]
        assert len(answer.content) < 2_000
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-stainless-retry-count", b"\xb2"),
        ("x-stainless-retry-count", b"9" * 5000),
        ("idempotency-key", b"\xe9\xff"),
        ("content-type", b"application/json; charset=\xff"),
        ("traceparent", b"\xff"),
    ],
)
async def test_no_odd_header_is_a_server_error(api: Api, name: str, value: bytes) -> None:
    headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json"), (name.encode(), value)]
    async with api.http(await api.key()) as http:
        answer = await http.post(
            "/v1/videos", content=json.dumps({"prompt": PROMPT}), headers=[*headers[name == "content-type" :]]
        )
        assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "form",
    [
        {"email": "a\x00@x.org", "password": "x"},
        {"email": "\ud800@x.org", "password": "x"},
        {"email": "a@x.org", "password": "\x00", "invitation": "\x00", "token": "\x00"},
        {"email": "a" * 5000, "password": "x"},
        {"email": "a@x.org", "password": "\ud800" * 20, "token": "\ud800"},
        {"everywhere": "\x00"},
        {},
    ],
)
@pytest.mark.parametrize(
    "door", ["sign-in", "sign-up", "reset-request", "reset", "confirm", "password", "sign-out"]
)
async def test_no_odd_form_is_a_server_error(api: Api, door: str, form: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=api.url, headers={"x-zoetrope": "1"}) as http:
        answer = await http.post(
            f"/auth/{door}", content=json.dumps(form), headers={"content-type": "application/json"}
        )
        assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/v1/videos/{odd}", "/v1/videos/{odd}/content", "/v1/videos/{odd}/events", "/v1/videos/{odd}/receipt",
        "/v1/videos?after={odd}", "/v1/videos?limit={odd}", "/v1/videos?order={odd}", "/v1/models/{odd}",
        "/media/{odd}/video", "/media/{odd}/preview", "/media/video_00000000000000000000000000/{odd}",
        "/evidence/{odd}/video", "/evidence/case_00000000000000000000000000/{odd}", "/objects/{odd}?expires=1&sig=x",
        "/objects/judged/{odd}/x.mp4?expires={odd}&sig={odd}&max={odd}&type={odd}&name={odd}",
    ],
)  # fmt: skip
async def test_no_odd_address_is_a_server_error(api: Api, path: str) -> None:
    async with api.http(await api.key()) as http:
        for odd in (
            "%00",
            "%ed%a0%80",
            "%ff%fe",
            "..%2f..",
            "x" * 4000,
            "%C2%B2",
            "%F0%9F%92%A9",
            "9" * 3000,
            "'",
        ):
            for method in ("GET", "HEAD", "DELETE", "POST", "PUT"):
                answer = await http.request(method, path.format(odd=odd))
                assert 400 <= answer.status_code < 500 or (method, answer.status_code) == ("GET", 200), (
                    method, odd[:20], answer.text[:200],
                )  # fmt: skip


@pytest.mark.parametrize("prompt", ["\u200b\u200b", "\u2060 \ufeff", "\u3164", "\u2800\u2800", " \x00 "])
async def test_a_prompt_that_nobody_sees_is_empty_and_makes_no_job(api: Api, prompt: str) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", json={"prompt": prompt})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "prompt")
        assert "empty" in error["message"]
        assert (await http.get("/v1/videos")).json()["data"] == []


@pytest.mark.parametrize(
    ("field", "value"), [("n", 2), ("fps", MINI.fps + 1), ("style", "noir"), ("strength", 0.5)]
)
async def test_a_field_that_cannot_be_honoured_is_refused_by_name(
    api: Api, field: str, value: object
) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", json={"prompt": PROMPT, field: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
        same = await http.post("/v1/videos", json={"prompt": PROMPT, "n": 1, "fps": MINI.fps, "style": ""})
        assert same.status_code == 200
        image = {"input_reference": ("a.png", picture(), "image/png")}
        strong = await http.post("/v1/videos", data={"prompt": PROMPT, "strength": "0.5"}, files=image)
        assert strong.status_code == 200


async def test_what_is_repeated_in_an_answer_is_cut(api: Api) -> None:
    async with api.http(await api.key()) as http:
        for field in ("model", "size", "seconds"):
            answer = await http.post("/v1/videos", json={"prompt": PROMPT, field: "x" * 10_000_000})
            assert answer.status_code == 400
            assert len(answer.content) < 1_000


async def test_media_answer_head_as_they_answer_get(api: Api) -> None:
    async with api.http(await api.key()) as http:
        video = (await http.post("/v1/videos", json={"prompt": PROMPT})).json()["id"]
        await api.complete(video)
        for path in (f"/media/{video}/video", f"/media/{video}/thumbnail", f"/v1/videos/{video}/content"):
            assert (await http.head(path)).status_code == (await http.get(path)).status_code == 302


async def test_a_deleted_clips_signed_url_ends_with_it(api: Api) -> None:
    async with api.http(await api.key()) as http:
        video = (await http.post("/v1/videos", json={"prompt": PROMPT})).json()["id"]
        await api.complete(video)
        key = f"judged/{video}/video-1.mp4"
        await api.studio.storage.put_bytes(key, b"clip")
        await api.sql(
            "UPDATE artifacts SET key = :key WHERE job_id = :id AND kind = 'video'", key=key, id=video
        )
        url = (await http.get(f"/v1/videos/{video}/content")).headers["location"]
        assert (await http.get(url)).content == b"clip"
        await api.sql("UPDATE artifacts SET state = 'taken_down' WHERE key = :key", key=key)
        assert (await http.get(url)).status_code == 404
        await api.sql("UPDATE artifacts SET state = 'released' WHERE key = :key", key=key)
        assert (await http.get(url, headers={"range": "bytes=0-1"})).status_code == 206
        assert (await http.delete(f"/v1/videos/{video}")).status_code == 200
        assert (await http.get(url)).status_code == 404
        assert (await http.head(url)).status_code == 404


async def test_large_bodies_keep_nobody_waiting(api: Api) -> None:
    lists = b'{"email": [' + b"[]," * 10_000_000 + b"[]]}"
    key = await api.key()

    async def wait_for_health() -> float:
        async with httpx.AsyncClient(base_url=api.url, timeout=60) as http:
            begun = time.monotonic()
            assert (await http.get("/healthz")).status_code == 200
            return time.monotonic() - begun

    async with httpx.AsyncClient(base_url=api.url, timeout=60, headers={"x-zoetrope": "1"}) as http:
        kinds = {"content-type": "application/json"}
        large = [
            asyncio.create_task(http.post("/auth/sign-in", content=lists, headers=kinds)),
            asyncio.create_task(http.post("/auth/sign-in", content=b" " * 64 * 2**10, headers=kinds)),
            asyncio.create_task(
                http.post(
                    "/v1/videos",
                    content=lists[: 11 * 2**20],
                    headers={**kinds, "authorization": f"Bearer {key}"},
                )
            ),
        ]
        waits = []
        while not all(task.done() for task in large):
            waits.append(await wait_for_health())
        assert [task.result().status_code for task in large] == [413, 413, 400]
    assert max(waits) < 2.0


async def test_a_body_that_stops_is_cut_off(api: Api) -> None:
    def post_and_stop(length: int) -> bytes:
        with socket.create_connection(("127.0.0.1", urlsplit(api.url).port or 0), timeout=30) as wire:
            host = urlsplit(api.url).netloc
            start = f"POST /auth/sign-in HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json"
            wire.sendall(f"{start}\r\nContent-Length: {length}\r\n\r\n{{".encode())
            answer = b""
            while piece := wire.recv(4096):
                answer += piece
            return answer

    stopped, announced = await asyncio.gather(
        asyncio.to_thread(post_and_stop, 1000), asyncio.to_thread(post_and_stop, 999_999_999)
    )
    assert stopped.startswith(b"HTTP/1.1 408")
    assert announced.startswith(b"HTTP/1.1 413")


async def test_an_unknown_length_is_counted_as_it_comes(api: Api) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 2**10

    async with httpx.AsyncClient(base_url=api.url, headers={"x-zoetrope": "1"}) as http:
        answer = await http.post("/auth/sign-in", content=endless())
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_another_videos_id_is_no_video(api: Api) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.get(f"/v1/videos/{new_id(IdPrefix.UPLOAD)}")
        assert answer.status_code == 404
