"""Column shapes shared by the tables: times are aware, ids are text, data is JSONB."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field


def id_column() -> Any:
    """A text primary key, made by `backend.ids`."""
    return Field(primary_key=True, sa_type=Text)


def text(*, default: str | None = None, index: bool = False) -> Any:
    """A text column; with a default also on the server."""
    if default is None:
        return Field(sa_type=Text, index=index)
    return Field(default=default, sa_type=Text, index=index, sa_column_kwargs={"server_default": default})


def optional_text(*, index: bool = False, unique: bool = False) -> Any:
    """A nullable text column."""
    return Field(default=None, sa_type=Text, nullable=True, index=index, unique=unique)


def reference(target: str, *, index: bool = True) -> Any:
    """A foreign key to `table.column`."""
    return Field(foreign_key=target, sa_type=Text, index=index)


def optional_reference(target: str, *, index: bool = False) -> Any:
    """A nullable foreign key."""
    return Field(default=None, foreign_key=target, sa_type=Text, nullable=True, index=index)


def created_at() -> Any:
    """Set by the database's clock."""
    return Field(
        default=None,
        sa_type=DateTime(timezone=True),
        nullable=False,
        sa_column_kwargs={"server_default": func.now()},
    )


def moment() -> Any:
    """A required aware time."""
    return Field(sa_type=DateTime(timezone=True), nullable=False)


def optional_moment() -> Any:
    """A nullable aware time."""
    return Field(default=None, sa_type=DateTime(timezone=True), nullable=True)


def data() -> Any:
    """A JSONB object."""
    return Field(
        default_factory=dict, sa_type=JSONB, nullable=False, sa_column_kwargs={"server_default": "{}"}
    )


def number(default: int = 0) -> Any:
    """An integer with a default on both sides."""
    return Field(default=default, nullable=False, sa_column_kwargs={"server_default": str(default)})


Moment = datetime
