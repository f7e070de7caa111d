"""Verdicts bound to bytes, cases for humans, and the log of who decided what."""

from sqlalchemy import BigInteger, Column, Identity, Index
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from backend.db.models import columns as c
from backend.db.models.columns import Moment


class Verdict(SQLModel, table=True):
    """What was decided on exactly the bytes with `sha256` (for a prompt: of its text)."""

    __tablename__ = "verdicts"

    id: str = c.id_column()
    job_id: str | None = c.optional_reference("jobs.id", index=True)
    upload_id: str | None = c.optional_reference("uploads.id", index=True)
    stage: str = c.text()
    surface: str = c.text()
    sha256: str = c.text()
    verdict: str = c.text()
    clause: str | None = c.optional_text()
    findings: dict[str, object] = c.data()
    policy_version: str = c.text()
    classifier: str = c.text(default="")
    decided_by: str | None = c.optional_reference("users.id")
    created_at: Moment = c.created_at()


class ReviewCase(SQLModel, table=True):
    """A job that a human looks at. Claimed under a lease; `effective_at` ends the minute of undo."""

    __tablename__ = "review_cases"
    __table_args__ = (
        Index(
            "review_cases_one_a_stage",
            "job_id",
            "stage",
            unique=True,
            postgresql_where=sql("state IN ('open','decided')"),
        ),
        Index("review_cases_decided", "effective_at", postgresql_where=sql("state = 'decided'")),
        Index("review_cases_open", "opened_at", "id", postgresql_where=sql("state = 'open'")),
        Index("review_cases_listed", "opened_at", "id", postgresql_where=sql("state IN ('open','decided')")),
    )

    id: str = c.id_column()
    job_id: str = c.reference("jobs.id")
    stage: str = c.text()
    state: str = c.text(default="open")
    clause: str | None = c.optional_text()
    version: int = c.number()
    claimed_by: str | None = c.optional_reference("users.id")
    claim_expires_at: Moment | None = c.optional_moment()
    decision: str | None = c.optional_text()
    decided_by: str | None = c.optional_reference("users.id")
    decided_at: Moment | None = c.optional_moment()
    effective_at: Moment | None = c.optional_moment()
    note: str = c.text(default="")
    opened_at: Moment = c.created_at()


class AuditEntry(SQLModel, table=True):
    """Who did what to whom. Append-only."""

    __tablename__ = "audit_entries"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(), primary_key=True))
    actor_id: str | None = c.optional_reference("users.id", index=True)
    action: str = c.text()
    subject: str = c.text(index=True)
    detail: dict[str, object] = c.data()
    created_at: Moment = c.created_at()
