"""A signed URL allows what was signed: nothing in it can be raised, widened or prolonged."""

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from backend.storage import Reader
from backend.storage.signing import ExpiredUrl, ForgedUrl, Permit, verify

SECRET = b"s" * 32
PERMIT = Permit(
    method="PUT",
    key="jobs/a/clip.mp4",
    expires_at=1000,
    content_type="video/mp4",
    filename="a.mp4",
    max_bytes=10,
    reader=Reader.WORKER,
)


def query_of(permit: Permit) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(permit.path(SECRET)).query))


def test_a_permit_is_read_back_equal_from_its_url() -> None:
    assert verify(SECRET, "PUT", PERMIT.key, query_of(PERMIT), now=999.9) == PERMIT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max", "11"),
        ("max", "0"),
        ("expires", "2000"),
        ("type", "text/html"),
        ("name", "b.exe"),
        ("for", "browser"),
    ],
)
def test_no_part_of_a_permit_can_be_changed(name: str, value: str) -> None:
    with pytest.raises(ForgedUrl):
        verify(SECRET, "PUT", PERMIT.key, {**query_of(PERMIT), name: value}, now=0)


@pytest.mark.parametrize("name", ["max", "type", "name", "for", "expires", "sig"])
def test_no_part_of_a_permit_can_be_left_out(name: str) -> None:
    query = query_of(PERMIT)
    del query[name]
    with pytest.raises(ForgedUrl):
        verify(SECRET, "PUT", PERMIT.key, query, now=0)


def test_a_permit_is_for_one_key_and_one_method() -> None:
    for method, key in (("GET", PERMIT.key), ("PUT", "jobs/a/other.mp4")):
        with pytest.raises(ForgedUrl):
            verify(SECRET, method, key, query_of(PERMIT), now=0)


def test_a_permit_of_another_secret_is_none() -> None:
    with pytest.raises(ForgedUrl):
        verify(b"t" * 32, "PUT", PERMIT.key, query_of(PERMIT), now=0)


def test_a_permit_ends_at_its_moment() -> None:
    with pytest.raises(ExpiredUrl):
        verify(SECRET, "PUT", PERMIT.key, query_of(PERMIT), now=1000)
    assert verify(SECRET, "PUT", PERMIT.key, query_of(replace(PERMIT, expires_at=1001)), now=1000)
