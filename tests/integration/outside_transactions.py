"""Adapters that notice when they are called inside an open transaction: GPU and network work happen between them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, cast

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.engine import Database

T = TypeVar("T")

_OPEN: ContextVar[int] = ContextVar("open transactions of this task", default=0)


class CalledInsideTransaction(AssertionError):
    """Storage or Valkey was asked while a transaction was open: it would hold its locks for as long as they take."""


class WatchedDatabase(Database):
    """A database that knows whether the task at work is inside a transaction."""

    def __init__(self, database: Database) -> None:
        vars(self).update(vars(database))

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        return _counted(super().transaction())

    def single(self) -> AbstractAsyncContextManager[AsyncSession]:
        return _counted(super().single())

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        return _counted(super().reading())


@asynccontextmanager
async def _counted(block: AbstractAsyncContextManager[AsyncSession]) -> AsyncIterator[AsyncSession]:
    async with block as session:
        before = _OPEN.set(_OPEN.get() + 1)
        try:
            yield session
        finally:
            _OPEN.reset(before)


class _Outside:
    """Anything, but for calls inside a transaction."""

    def __init__(self, adapter: object, name: str) -> None:
        self._adapter = adapter
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._adapter, attribute)
        if attribute == "redis":
            return _Outside(found, "redis")
        return _checked(found, f"{self._name}.{attribute}") if callable(found) else found


def _checked(call: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(call)
    def checked(*values: Any, **named: Any) -> Any:
        if _OPEN.get():
            raise CalledInsideTransaction(name)
        return call(*values, **named)

    return checked


def outside(adapter: T, name: str) -> T:
    """The adapter, which raises `CalledInsideTransaction` when it is called inside one."""
    return cast(T, _Outside(adapter, name))
