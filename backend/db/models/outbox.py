"""What is to be done next, one row a consumer. Taken with SKIP LOCKED, marked done."""

from sqlalchemy import BigInteger, Column, Identity, Index
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from backend.db.models import columns as c
from backend.db.models.columns import Moment


class OutboxRow(SQLModel, table=True):
    """An event for one consumer. Taking it moves `available_at` on, so a taker that dies loses nothing."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_due", "consumer", "available_at", "id", postgresql_where=sql("done_at IS NULL")),
        Index("outbox_done", "done_at", postgresql_where=sql("done_at IS NOT NULL")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(), primary_key=True))
    consumer: str = c.text()
    subject: str = c.text()
    payload: dict[str, object] = c.data()
    trace_id: str = c.text(default="")
    tries: int = c.number()
    begun: int = c.number()
    last_error: str = c.text(default="")
    created_at: Moment = c.created_at()
    available_at: Moment = c.created_at()
    done_at: Moment | None = c.optional_moment()
