"""A network under a keyed hash: enough to count its accounts, and not to find out where somebody was."""

import hashlib
import hmac
import ipaddress

IPV4_PREFIX = 24
IPV6_PREFIX = 48
SECRET_NAME = "network"
KEPT_DAYS = 100
"""How long the hash of an account's network outlives its last sign-in."""


def network_key(address: str, secret: bytes) -> str:
    """The hash of an address' network (/24, or /48 of IPv6). What is no address counts as one network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        name = "unknown"
    else:
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        prefix = IPV4_PREFIX if parsed.version == 4 else IPV6_PREFIX
        name = str(ipaddress.ip_network((parsed, prefix), strict=False))
    return hmac.digest(secret, name.encode(), hashlib.sha256).hex()[:32]
