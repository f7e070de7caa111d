"""Whether a database needs a migration or its first admin: two questions over the bare driver at every start.

The libraries that migrate take more than a second to load, a fifth of what a second start takes until it serves pages.
"""

import asyncio
import hashlib
from pathlib import Path

_HERE = Path(__file__).parent
_SOURCES = ("migrations/versions/*.py", "sql/*.sql", "migrate.py", "../domain/tiers.py")
_TIMEOUT_S = 10.0

AN_ADMIN_CAME_IN = """
    SELECT 1 FROM users u WHERE u.role = 'admin' AND u.suspended_at IS NULL
      AND (u.password_hash IS NOT NULL OR EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = u.id))
    LIMIT 1
    """
_MARK = "SELECT obj_description(to_regclass('alembic_version'), 'pg_class')"


def version_mark() -> str:
    """What a migrated database says of itself: a hash of all that migrating puts into it.

    Kept as a comment on alembic's table, so that a dump takes it along and an older dump brings an older one back.
    """
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(_HERE.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"zoetrope {digest.hexdigest()}"


def needs_nothing(url: str) -> bool:
    """True when the database is at this version and an admin came in; False also where that can't be told."""
    return asyncio.run(_needs_nothing(url.replace("postgresql+asyncpg://", "postgresql://", 1)))


async def _needs_nothing(url: str) -> bool:
    import asyncpg

    try:
        async with asyncio.timeout(_TIMEOUT_S):
            connection = await asyncpg.connect(url)
            try:
                if await connection.fetchval(_MARK) != version_mark():
                    return False
                return await connection.fetchval(AN_ADMIN_CAME_IN) is not None
            finally:
                await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
