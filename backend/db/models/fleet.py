"""GPU workers as the control plane knows them, and the leader's term."""

from sqlalchemy import ARRAY, BigInteger, Text
from sqlmodel import Field, SQLModel

from backend.db.models import columns as c
from backend.db.models.columns import Moment
from backend.domain.worker import WorkerState


class Worker(SQLModel, table=True):
    """A worker that was let in or said hello, in one of `WorkerState`.

    One in quarantine takes nothing until `quarantined_until`, then one job on probation. It is judged by its attempts
    alone (`domain/quarantine.py`), so that this survives restarts of everything.
    """

    __tablename__ = "workers"

    id: str = c.id_column()
    boot_id: str = c.text(default="")
    state: str = c.text(default=WorkerState.LIVE.value)
    version: str = c.text(default="")
    hardware_class: str = c.text(default="")
    device: str = c.text(default="")
    memory_gb: float = Field(default=0.0)
    recipes: list[str] = Field(default_factory=list, sa_type=ARRAY(Text), nullable=False)
    resident: list[str] = Field(default_factory=list, sa_type=ARRAY(Text), nullable=False)
    loading: str | None = c.optional_text()
    drain_requested: bool = Field(default=False, nullable=False, sa_column_kwargs={"server_default": "false"})
    quarantined_until: Moment | None = c.optional_moment()
    quarantine_reason: str = c.text(default="")
    heartbeat_at: Moment = c.created_at()
    registered_at: Moment = c.created_at()


class LeaderTerm(SQLModel, table=True):
    """Who leads. Each dispatch is conditional on the term, so a leader that was stopped changes nothing."""

    __tablename__ = "leader_terms"

    name: str = c.id_column()
    term: int = Field(sa_type=BigInteger)
    holder: str = c.text()
    expires_at: Moment = c.moment()
