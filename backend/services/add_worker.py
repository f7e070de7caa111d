"""Let a GPU host in, as a Valkey user of its own, or send it away again."""

import hashlib
import re
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from redis.exceptions import RedisError, ResponseError
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from backend.contracts.access import access_rules, user_name
from backend.contracts.wire import WORKERS_KEY, Mailbox
from backend.db.models import AuditEntry, Worker
from backend.domain.errors import InvalidField, NotFound, Unavailable
from backend.domain.worker import WorkerState
from backend.settings import WORKER_ID_PATTERN
from backend.studio import Studio

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When one was heard that has not said anything yet."""


@dataclass(frozen=True, kw_only=True)
class WorkerPass:
    """How a worker comes in. `password` is never to be had again; `rules` hold its hash.

    `survives_restart`: whether Valkey wrote the user down; None where it was not asked.
    """

    worker_id: str
    password: str
    rules: tuple[str, ...]
    survives_restart: bool | None = None

    @property
    def user(self) -> str:
        """The Valkey user's name."""
        return user_name(self.worker_id)

    @property
    def acl_line(self) -> str:
        """The user as a line of Valkey's ACL file."""
        return " ".join(("user", self.user, *self.rules))


def make_pass(worker_id: str) -> WorkerPass:
    """A pass that nobody has installed yet. Raises `InvalidField`."""
    if not re.fullmatch(WORKER_ID_PATTERN, worker_id):
        raise InvalidField(
            "A worker's name has letters, digits, dots, dashes and underscores, 64 at most.", param="name"
        )
    password = secrets.token_urlsafe(32)
    secret = hashlib.sha256(password.encode()).hexdigest()
    return WorkerPass(worker_id=worker_id, password=password, rules=(*access_rules(worker_id), f"#{secret}"))


async def admit_worker(studio: Studio, worker_id: str) -> WorkerPass:
    """A pass for an operator to install; the studio listens for the worker from now on. Raises `InvalidField`."""
    made = make_pass(worker_id)
    await _let_in(studio, worker_id)
    await _note(studio, "worker.added", worker_id)
    return made


async def add_worker(studio: Studio, worker_id: str) -> WorkerPass:
    """Install a new pass; an older one of the same name ends. Raises `InvalidField`, `Unavailable`."""
    made = make_pass(worker_id)
    await _let_in(studio, worker_id)
    try:
        await _ask(studio, "ACL", "SETUSER", made.user, *made.rules)
        survives = await _written_down(studio)
    except RedisError as error:
        raise Unavailable(
            f"Valkey did not take the user ({error}). Whoever runs it can: see `zoetrope workers add --print`."
        ) from error
    await _note(studio, "worker.added", worker_id)
    return replace(made, survives_restart=survives)


async def remove_worker(studio: Studio, worker_id: str) -> None:
    """End a worker's pass and its connections, and hear it no more. Raises `NotFound`, `Unavailable`.

    Nothing is given to it from now on; what it ran goes on elsewhere once its lease has ended.
    """
    mailbox = Mailbox(worker_id)
    known = await _send_away(studio, worker_id)
    try:
        ended = await _ask(studio, "ACL", "DELUSER", user_name(worker_id))
        await _ask(studio, "SREM", WORKERS_KEY, worker_id)
        await _ask(studio, "DEL", mailbox.orders, mailbox.uplink, mailbox.wishes)
        await _written_down(studio)
    except RedisError as error:
        raise Unavailable(f"Valkey did not take it ({error}).") from error
    if not (ended or known):
        raise NotFound(f"There is no worker {worker_id!r}, and Valkey has no user for one.", param="name")
    await _note(studio, "worker.removed", worker_id)


async def _let_in(studio: Studio, worker_id: str) -> None:
    """The row by which the leader knows whose stream to read, also after a FLUSHALL."""
    row = insert(Worker).values(id=worker_id, state=WorkerState.GONE.value, heartbeat_at=_NEVER)
    async with studio.db.transaction() as session:
        await session.execute(
            row.on_conflict_do_update(
                index_elements=["id"],
                set_={"state": WorkerState.GONE.value},
                where=col(Worker.state) == WorkerState.REMOVED.value,
            )
        )


async def _send_away(studio: Studio, worker_id: str) -> bool:
    """Keep its row, as one that keeps it out: a heartbeat that is being recorded must not bring it back."""
    async with studio.db.transaction() as session:
        sent = await session.execute(
            update(Worker)
            .where(col(Worker.id) == worker_id, col(Worker.state) != WorkerState.REMOVED.value)
            .values(state=WorkerState.REMOVED.value, recipes=[], resident=[], loading=None)
            .returning(col(Worker.id))
        )
    return sent.one_or_none() is not None


async def _ask(studio: Studio, *command: str) -> Any:
    return await cast("Awaitable[Any]", studio.wakeups.redis.execute_command(*command))


async def _written_down(studio: Studio) -> bool:
    try:
        await _ask(studio, "ACL", "SAVE")
    except ResponseError:
        return False
    return True


async def _note(studio: Studio, action: str, worker_id: str) -> None:
    async with studio.db.transaction() as session:
        session.add(AuditEntry(action=action, subject=worker_id))
