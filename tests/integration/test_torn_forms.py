"""A body that is not whole, or not text, makes no job of something else: it is refused, and nothing is charged."""

import asyncio
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.test_video_routes import PROMPT, Api, api, folder, picture, served

__all__ = ["api", "folder", "served"]

IMAGE = picture()
MULTIPART = {"content-type": "multipart/form-data; boundary=B"}


def part(name: str, value: bytes, more: bytes = b"") -> bytes:
    return b'--B\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name.encode(), more, value)


WHOLE = (
    part("prompt", PROMPT.encode())
    + part("num_inference_steps", b"16")
    + part("seed", b"123456")
    + part("input_reference", IMAGE, b'; filename="a.png"\r\nContent-Type: image/png')
    + b"--B--\r\n"
)
TORN = {
    "in the image": WHOLE.index(IMAGE) + len(IMAGE) // 2,
    "in a number": WHOLE.index(b"16\r\n") + 1,
    "in the seed": WHOLE.index(b"123456") + 3,
    "in a header": WHOLE.index(b'name="seed"') + 4,
    "after a header": WHOLE.index(b'name="seed"') + 15,
    "between two parts": WHOLE.index(b'--B\r\nContent-Disposition: form-data; name="seed"'),
    "in a boundary": WHOLE.index(b'--B\r\nContent-Disposition: form-data; name="seed"') + 2,
    "before its last boundary": WHOLE.index(b"--B--"),
    "in its last boundary": WHOLE.index(b"--B--") + 4,
    "in its first boundary": 2,
}


async def _create(http: httpx.AsyncClient, body: bytes) -> httpx.Response:
    return await http.post("/v1/videos", content=body, headers=MULTIPART)


@pytest.mark.parametrize("length", TORN.values(), ids=TORN)
async def test_a_form_that_ends_in_the_middle_makes_no_job(api: Api, length: int) -> None:
    async with api.http(await api.key()) as http:
        answer = await _create(http, WHOLE[:length])
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"] == "The form ends in the middle; send it again."
        assert (await http.get("/v1/videos")).json()["data"] == []


@pytest.mark.parametrize("end", [b"--B--\r\n", b"--B--", b"--B--\r\nan epilogue"])
async def test_a_whole_form_makes_its_job(api: Api, end: bytes) -> None:
    async with api.http(await api.key()) as http:
        answer = await _create(http, WHOLE.removesuffix(b"--B--\r\n") + end)
        assert answer.status_code == 200, answer.text
        ((steps, images),) = await api.sql(
            "SELECT steps, jsonb_array_length(spec -> 'conditioning') FROM jobs WHERE id = :id",
            id=answer.json()["id"],
        )
        assert (steps, images) == (16, 1)


async def test_an_upload_that_ends_in_the_middle_is_not_kept(api: Api) -> None:
    async with api.http(await api.key()) as http:
        body = part("file", IMAGE, b'; filename="a.png"\r\nContent-Type: image/png')
        answer = await http.post("/uploads", content=body, headers=MULTIPART)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "incomplete_body")
        assert "ends in the middle" in answer.json()["error"]["message"]
        whole = await http.post("/uploads", content=body + b"--B--\r\n", headers=MULTIPART)
        assert whole.status_code == 201


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (part("prompt", b"a red \xff\xfe circle") + b"--B--\r\n", MULTIPART["content-type"]),
        (
            part("prompt", b"a red \xff\xfe circle") + b"--B--\r\n",
            MULTIPART["content-type"] + "; charset=latin-1",
        ),
        (b"prompt=a+red+%ff%fe+circle", "application/x-www-form-urlencoded"),
        (b"prompt=a red \xff\xfe circle", "application/x-www-form-urlencoded"),
        (b'{"prompt": "a red \xff\xfe circle"}', "application/json"),
        (b'{"prompt": NaN}', "application/json"),
        (b'{"prompt": 0}', "application/json"),
        (b'{"prompt": -1e999}', "application/json"),
        (b'{"prompt": true}', "application/json"),
        (b'{"prompt": "a red circle", "negative_prompt": 1.5}', "application/json"),
    ],
)
async def test_what_is_no_text_is_no_prompt(api: Api, body: bytes, kind: str) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", content=body, headers={"content-type": kind})
        assert answer.status_code == 400, answer.text
        assert (await http.get("/v1/videos")).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (part("prompt", "ein Kätzchen 🐈".encode()) + b"--B--\r\n", MULTIPART["content-type"]),
        (b"prompt=ein+K%C3%A4tzchen+%F0%9F%90%88", "application/x-www-form-urlencoded"),
        ("prompt=ein Kätzchen 🐈&seed=".encode(), "application/x-www-form-urlencoded"),
        ('{"prompt": "ein Kätzchen 🐈"}'.encode(), "application/json"),
    ],
)
async def test_a_prompt_past_ascii_arrives_as_written(api: Api, body: bytes, kind: str) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", content=body, headers={"content-type": kind})
        assert answer.status_code == 200, answer.text
        assert answer.json()["prompt"] == "ein Kätzchen 🐈"


async def test_a_form_has_so_many_fields_and_no_more(api: Api) -> None:
    async with api.http(await api.key()) as http:
        many = "&".join(f"field{number}=1" for number in range(101))
        kind = {"content-type": "application/x-www-form-urlencoded"}
        answer = await http.post("/v1/videos", content=f"prompt=x&{many}", headers=kind)
        assert answer.status_code == 400
        assert "100 fields at most" in answer.json()["error"]["message"]


async def test_whoever_stops_sending_in_the_middle_is_told_so(api: Api) -> None:
    key = await api.key()

    def post_and_stop() -> bytes:
        where = urlsplit(api.url)
        with socket.create_connection(("127.0.0.1", where.port or 0), timeout=30) as wire:
            start = f"POST /v1/videos HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {key}"
            wire.sendall(
                f"{start}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode()
            )
            wire.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := wire.recv(4096):
                answer += piece
            return answer

    answer = await asyncio.to_thread(post_and_stop)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code":"incomplete_body"' in answer
    assert b"x-should-retry: true" in answer.lower()
