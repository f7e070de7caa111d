"""The streams that workers write to, read together: whose streams there are, and how far each was read.

A stream is its worker's to write, so it is read as bytes, kept short, and thrown away where it is no stream or too
large. Who is a worker, the database and a list in Valkey say, which no worker's own Valkey user can write to.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import ResponseError
from sqlalchemy import text

from backend.contracts.wire import MAX_UPLINK_BYTES, UPLINK_FIELD, UPLINK_MAXLEN, WORKERS_KEY, Mailbox
from backend.settings import WORKER_ID_PATTERN
from backend.studio import Studio
from jobs.refusals import Refusals

BLOCK_MS = 500
READ_COUNT = 100
FIND_WORKERS_EVERY_S = 1.0
MAX_WORKERS = 2000
"""Of those that the database knows, the ones heard of last."""
KEPT_OUT_S = 10.0
"""How long a stream that was thrown away is not read again."""

_ROWS = text("SELECT id, state = 'removed' AS removed FROM workers ORDER BY heartbeat_at DESC LIMIT :limit")
_FIELD = UPLINK_FIELD.encode()
_BYTES = {NEVER_DECODE: True}
Entry = tuple[bytes, dict[bytes, bytes]]


class Uplinks:
    """All uplinks. Errors of one stream are noted in `refusals` and exclude that stream alone."""

    def __init__(self, studio: Studio, redis: Redis, refusals: Refusals) -> None:
        self._studio = studio
        self._redis = redis
        self._refusals = refusals
        self._last_ids: dict[str, bytes] = {}
        self._kept_out: dict[str, float] = {}
        self._looked_at = -FIND_WORKERS_EVERY_S

    async def read(self) -> list[tuple[str, bytes]]:
        """(worker_id, raw message) of all that came within `BLOCK_MS`, in order for each worker.

        Raises `RedisError`, `OSError` and `SQLAlchemyError`: then nobody was heard.
        """
        now_s = self._studio.clock.monotonic()
        if now_s - self._looked_at >= FIND_WORKERS_EVERY_S:
            await self._find_workers(now_s)
            self._looked_at = now_s
        if not self._last_ids:
            await asyncio.sleep(BLOCK_MS / 1000)
            return []
        return self._messages(await self._read_together())

    async def _read_together(self) -> list[tuple[str, Sequence[Entry]]]:
        worker_ids = list(self._last_ids)
        keys = [Mailbox(worker_id).uplink for worker_id in worker_ids]
        try:
            answer = await self._redis.execute_command(
                "XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS,
                "STREAMS", *keys, *(self._last_ids[worker_id] for worker_id in worker_ids),
                **_BYTES,
            )  # fmt: skip
        except ResponseError as error:
            if not _is_no_stream(error):
                raise
            # One of them is no stream, and the answer doesn't say which.
            return await self._read_apart(worker_ids)
        by_key = dict(zip((key.encode() for key in keys), worker_ids, strict=True))
        return [(by_key[key], entries) for key, entries in answer or []]

    async def _read_apart(self, worker_ids: Sequence[str]) -> list[tuple[str, Sequence[Entry]]]:
        answers = await self._of_each(
            ("XREAD", "COUNT", READ_COUNT, "STREAMS", Mailbox(worker_id).uplink, self._last_ids[worker_id])
            for worker_id in worker_ids
        )
        found: list[tuple[str, Sequence[Entry]]] = []
        for worker_id, answer in zip(worker_ids, answers, strict=True):
            if isinstance(answer, Exception):
                await self._throw_away(worker_id, answer)
            else:
                found += [(worker_id, entries) for _key, entries in answer or []]
        return found

    def _messages(self, read: Sequence[tuple[str, Sequence[Entry]]]) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        for worker_id, entries in read:
            for entry_id, fields in entries:
                self._last_ids[worker_id] = entry_id
                if _FIELD in fields:
                    found.append((worker_id, fields[_FIELD]))
        return found

    async def _find_workers(self, now_s: float) -> None:
        """Whose streams are read from now on. All are cut to their length; one that is too large is thrown away."""
        self._kept_out = {each: until for each, until in self._kept_out.items() if until > now_s}
        workers = [each for each in sorted(await self._workers()) if each not in self._kept_out]
        self._last_ids = {each: last for each, last in self._last_ids.items() if each in set(workers)}
        keys = [Mailbox(worker_id).uplink for worker_id in workers]
        lengths = await self._of_each(("XTRIM", key, "MAXLEN", UPLINK_MAXLEN) for key in keys)
        sizes = await self._of_each(("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys)
        sound = []
        for worker_id, length, size in zip(workers, lengths, sizes, strict=True):
            if isinstance(length, Exception):
                await self._throw_away(worker_id, length)
            elif isinstance(size, int) and size > MAX_UPLINK_BYTES:
                await self._throw_away(worker_id)
            else:
                sound.append(worker_id)
        # Old heartbeats must not renew anything: begin after the newest.
        fresh = [worker_id for worker_id in sound if worker_id not in self._last_ids]
        newest = await self._of_each(
            ("XREVRANGE", Mailbox(each).uplink, "+", "-", "COUNT", 1) for each in fresh
        )
        for worker_id, entries in zip(fresh, newest, strict=True):
            if isinstance(entries, Exception):
                await self._throw_away(worker_id, entries)
            else:
                self._last_ids[worker_id] = entries[0][0] if entries else b"0-0"

    async def _workers(self) -> set[str]:
        listed = await self._redis.execute_command("SRANDMEMBER", WORKERS_KEY, MAX_WORKERS, **_BYTES)
        async with self._studio.db.single() as session:
            rows = (await session.execute(_ROWS, {"limit": MAX_WORKERS})).all()
        names = {_worker_id(member) for member in cast("list[bytes]", listed)} - {None}
        return (cast("set[str]", names) | {row.id for row in rows}) - {row.id for row in rows if row.removed}

    async def _throw_away(self, worker_id: str, error: Exception | None = None) -> None:
        """Leave a worker's stream out for a while, and delete it, so that the worker can begin a new one.

        Raises `error` where it says something else than that it is no stream.
        """
        if error is not None and not _is_no_stream(error):
            raise error
        self._refusals.note(worker_id, "no_stream" if error is not None else "too_large")
        self._last_ids.pop(worker_id, None)
        self._kept_out[worker_id] = self._studio.clock.monotonic() + KEPT_OUT_S
        await self._redis.unlink(Mailbox(worker_id).uplink)

    async def _of_each(self, commands: Any) -> list[Any]:
        """The answers to these commands, sent together. One that failed is answered by its error."""
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command, **_BYTES)
        return await pipe.execute(raise_on_error=False) if len(pipe) else []


def _worker_id(member: bytes) -> str | None:
    """A member of the list of workers, if it is a worker's id: anybody with the studio's password may write there."""
    name = member.decode("ascii", "replace")
    return name if re.fullmatch(WORKER_ID_PATTERN, name) else None


def _is_no_stream(error: Exception) -> bool:
    return isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")
