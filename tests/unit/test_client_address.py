"""Whose address is believed: trusted proxies are seen through, everyone else is taken at their peer's."""

import ipaddress

import pytest
from starlette.requests import Request

from backend.api.client_address import client_address, is_loopback

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))


def request(peer: str, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return Request({"type": "http", "client": (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["nonsense"], "unknown"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has_counts(
    peer: str, forwarded: list[str], address: str
) -> None:
    assert client_address(request(peer, *forwarded), PROXIES) == address


def test_loopback_is_believed_only_without_a_proxy_between() -> None:
    assert is_loopback(request("127.0.0.1"))
    assert is_loopback(request("::1"))
    assert not is_loopback(request("127.0.0.1", "127.0.0.1"))
    assert not is_loopback(request("203.0.113.1"))


@pytest.mark.parametrize(
    "header", ["via", "x-real-ip", "forwarded", "x-forwarded-host", "x-forwarded-proto", "cf-connecting-ip"]
)
def test_any_word_of_a_proxy_says_that_one_is_between(header: str) -> None:
    headers = [(header.encode(), b"1.1 proxy")]
    assert not is_loopback(Request({"type": "http", "client": ("127.0.0.1", 1), "headers": headers}))
