"""A field that comes twice is refused by its name: whichever was taken, a job of the other was meant."""

import json

import pytest

from tests.integration.test_torn_forms import IMAGE, MULTIPART, part
from tests.integration.test_video_routes import PROMPT, Api, api, folder, served

__all__ = ["api", "folder", "served"]

URLENCODED = "application/x-www-form-urlencoded"
FILE = b'; filename="a.png"\r\nContent-Type: image/png'
REFERENCE = "input_reference"


def form(*parts: bytes) -> bytes:
    return part("seed", b"7") + b"".join(parts) + b"--B--\r\n"


PROMPTED = part("prompt", PROMPT.encode())


@pytest.mark.parametrize(
    ("body", "kind", "twice"),
    [
        (form(PROMPTED, part("prompt", b"a blue square")), None, "prompt"),
        (form(PROMPTED, PROMPTED), None, "prompt"),
        (form(PROMPTED, part("seed", b"")), None, "seed"),
        (form(PROMPTED, part(REFERENCE, IMAGE, FILE), part(REFERENCE, IMAGE, FILE)), None, REFERENCE),
        (form(PROMPTED, part(REFERENCE, IMAGE, FILE), part(REFERENCE, b"data:,x")), None, REFERENCE),
        (
            form(PROMPTED, part("input_reference[file_id]", b"a"), part("input_reference[file_id]", b"b")),
            None,
            "input_reference[file_id]",
        ),
        (b"prompt=a+red+circle&prompt=a+blue+square", URLENCODED, "prompt"),
        (b"prompt=a+red+circle&%70rompt=", URLENCODED, "prompt"),
        (b'{"prompt": "a red circle", "prompt": "a blue square"}', "application/json", "prompt"),
        (b'{"prompt": "a red circle", "prompt": null}', "application/json", "prompt"),
        (b'{"prompt": "a red circle", "seed": 1, "s\\u0065ed": 1}', "application/json", "seed"),
        (
            b'{"prompt": "a red circle", "input_reference": {"file_id": "a", "file_id": "b"}}',
            "application/json",
            "input_reference[file_id]",
        ),
        (
            b'{"prompt": "a red circle", "input_reference": {"file_id": "a"}, "input_reference[file_id]": "b"}',
            "application/json",
            "input_reference[file_id]",
        ),
    ],
)
async def test_a_field_given_twice_makes_no_job(api: Api, body: bytes, kind: str | None, twice: str) -> None:
    async with api.http(await api.key()) as http:
        headers = {"content-type": kind or MULTIPART["content-type"]}
        for path in ("/v1/videos", "/v1/videos/quote"):
            answer = await http.post(path, content=body, headers=headers)
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            assert error["message"] == f"{twice} was given twice: send it once."
            assert error["param"] == twice
        assert (await http.get("/v1/videos")).json()["data"] == []


async def test_a_file_uploaded_twice_in_one_form_is_not_kept(api: Api) -> None:
    async with api.http(await api.key()) as http:
        twice = part("file", IMAGE, FILE) * 2 + b"--B--\r\n"
        answer = await http.post("/uploads", content=twice, headers=MULTIPART)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


async def test_an_image_given_in_two_ways_makes_no_job(api: Api) -> None:
    body = form(PROMPTED, part(REFERENCE, IMAGE, FILE), part("input_reference[file_id]", b"file_1"))
    async with api.http(await api.key()) as http:
        for path in ("/v1/videos", "/v1/videos/quote"):
            answer = await http.post(path, content=body, headers=MULTIPART)
            assert answer.status_code == 400, answer.text
            message = "An image is given once, not as input_reference and input_reference[file_id]."
            assert answer.json()["error"]["message"] == message


@pytest.mark.parametrize("name", ["prompt[]", "seed[]"])
async def test_a_list_where_one_value_is_taken_is_an_unknown_field(api: Api, name: str) -> None:
    async with api.http(await api.key()) as http:
        answer = await http.post("/v1/videos", content=form(PROMPTED, part(name, b"7")), headers=MULTIPART)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


async def test_a_field_given_once_and_a_null_elsewhere_make_their_job(api: Api) -> None:
    async with api.http(await api.key()) as http:
        body = {
            "prompt": PROMPT,
            "seed": 2**31 - 1,
            "negative_prompt": None,
            "input_reference": {"file_id": None},
        }
        kind = {"content-type": "application/json"}
        answer = await http.post("/v1/videos", content=json.dumps(body), headers=kind)
        assert answer.status_code == 200, answer.text
        ((seed, prompt),) = await api.sql(
            "SELECT (spec ->> 'seed')::bigint, prompt FROM jobs WHERE id = :id", id=answer.json()["id"]
        )
        assert (seed, prompt) == (2**31 - 1, PROMPT)
