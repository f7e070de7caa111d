"""The last proxy seen that nobody trusts, in Valkey for a day: the web process notes it, the doctor reads it."""

from datetime import timedelta

from redis import Redis as SyncRedis
from redis.asyncio import Redis

KEY = "zoetrope:untrusted-proxy"
KEPT = timedelta(days=1)
TIMEOUT_S = 5.0


async def remember_proxy(redis: Redis, proxy: str) -> None:
    """Note it. Raises what the client raises while Valkey is away."""
    await redis.set(KEY, proxy, ex=KEPT)


def remembered_proxy(url: str) -> str | None:
    """What was noted within the last day. Raises what the client raises while Valkey is away."""
    client = SyncRedis.from_url(url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S)
    try:
        found = client.get(KEY)
    finally:
        client.close()
    return found.decode() if isinstance(found, bytes) else None
