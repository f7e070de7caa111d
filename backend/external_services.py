"""Whether Postgres, Valkey and the storage that the operator named can be used: one clear line when they can't.

The drivers are imported where they are used: a start with embedded servers needs neither, and they cost 0.5 s.
"""

import asyncio
import secrets
from urllib.parse import urlsplit, urlunsplit

from backend.operator_errors import (
    DatabaseUnreachableError,
    StorageUnusableError,
    ValkeyUnreachableError,
)
from backend.settings import Settings

TIMEOUT_S = 10.0
STORAGE_TIMEOUT_S = 30.0
_OLDEST_POSTGRES = 140000


def check_database(url: str) -> None:
    """Connects once; raises `DatabaseUnreachableError`."""
    import asyncpg

    remedy = "start it, or correct ZOETROPE_DATABASE_URL (without it, an embedded Postgres is used)"
    try:
        version = asyncio.run(_postgres_version(url.replace("postgresql+asyncpg://", "postgresql://", 1)))
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = _reason(error)
        raise DatabaseUnreachableError(
            f"Postgres at {without_password(url)} can't be reached ({reason})", remedy
        ) from error
    if version < _OLDEST_POSTGRES:
        raise DatabaseUnreachableError(
            f"Postgres at {without_password(url)} is too old", "use Postgres 14 or newer"
        )


async def _postgres_version(url: str) -> int:
    import asyncpg

    connection = await asyncpg.connect(url, timeout=TIMEOUT_S)
    try:
        return int(await connection.fetchval("SHOW server_version_num"))
    finally:
        await connection.close()


def check_valkey(url: str) -> None:
    """Pings once; raises `ValkeyUnreachableError`."""
    import redis

    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S)
        try:
            client.ping()
        finally:
            client.close()
    except (OSError, ValueError, redis.RedisError) as error:
        raise ValkeyUnreachableError(
            f"Valkey at {without_password(url)} can't be reached ({_reason(error)})",
            "start it, or correct ZOETROPE_REDIS_URL (without it, an embedded Valkey is used)",
        ) from error


def check_storage(settings: Settings) -> None:
    """Writes a small object and deletes it; raises `StorageUnusableError`, `BadSettingError`."""
    from backend.storage import StorageError, open_storage

    async def write_and_delete() -> None:
        store = open_storage(settings)
        try:
            async with asyncio.timeout(STORAGE_TIMEOUT_S):
                key = f"check/{secrets.token_hex(8)}"
                await store.put_bytes(key, b"check")
                await store.delete(key)
        finally:
            await store.close()

    try:
        asyncio.run(write_and_delete())
    except (StorageError, OSError, TimeoutError) as error:
        raise StorageUnusableError(
            f"nothing can be stored at {without_password(settings.storage_url)} ({_reason(error)})",
            "make it writable, or set ZOETROPE_STORAGE_URL to a folder, or to s3://bucket/prefix",
        ) from error


def without_password(url: str) -> str:
    """A URL that can be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, user + host, parts.path, "", ""))


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
