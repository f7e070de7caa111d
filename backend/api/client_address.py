"""The network address of whoever asks, behind the proxies that the operator trusts and no others."""

import ipaddress
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from backend.settings import Network

UNKNOWN = "unknown"
_OF_A_PROXY = frozenset(
    {
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-original-forwarded-for",
    }
)


def client_address(connection: HTTPConnection, trusted: Sequence[Network]) -> str:
    """The last address on the way that isn't a trusted proxy; an IPv6 one as its /64."""
    address = connection.client.host if connection.client else UNKNOWN
    hops = [
        hop.strip() for header in connection.headers.getlist("x-forwarded-for") for hop in header.split(",")
    ]
    while hops and _is_trusted(address, trusted):
        address = hops.pop()
    return _person(address)


def is_loopback(connection: HTTPConnection) -> bool:
    """Whether the peer is this machine and no proxy stands between."""
    if any(name in _OF_A_PROXY or name.startswith("x-forwarded-") for name in connection.headers):
        return False
    peer = _parsed(connection.client.host) if connection.client else None
    return peer is not None and peer.is_loopback


def is_trusted_peer(connection: HTTPConnection, trusted: Sequence[Network]) -> bool:
    """Whether it comes from a proxy that the operator trusts."""
    return connection.client is not None and _is_trusted(connection.client.host, trusted)


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed.version == net.version and parsed in net for net in trusted)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _person(address: str) -> str:
    parsed = _parsed(address)
    if parsed is None:
        return UNKNOWN
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return str(parsed)
