"""Generation jobs, their attempts, what people think of them, and the keys that make a submission safe to repeat."""

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from backend.db.models import columns as c
from backend.db.models.columns import Moment
from backend.domain.generation import InputVerdict

IN_REVIEW = "state = 'in_review' OR (state = 'queued' AND input_verdict = 'review')"
"""A person is to decide about the job: its clip, or what was sent."""

HAS_IMAGES = "spec -> 'conditioning' <> '[]'::jsonb"
"""The job is conditioned on uploads."""


class Job(SQLModel, table=True):
    """What a creator asked for. `state` changes only through `domain.generation.advance`, with `version`.

    `steps_done` never falls: a new attempt raises it only past what was seen before. `charged_steps`: what it was
    cancelled after, of the attempt that ran. After a worker ran out of
    memory, `needs_memory_gb` and `saves_memory` say what the next attempt needs. `swept_at`: nothing of its attempts
    is in storage any more, and nobody can write there.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "jobs_of_account",
            "account_id",
            sql("created_at DESC"),
            sql("id DESC"),
            postgresql_where=sql("deleted_at IS NULL"),
        ),
        Index("jobs_submitted", "account_id", "created_at"),
        Index(
            "jobs_live",
            "state",
            "created_at",
            "id",
            postgresql_where=sql(
                "state IN ('queued','assigned','running','moderating','in_review','approved')"
            ),
        ),
        Index(
            "jobs_live_of_account",
            "account_id",
            postgresql_where=sql(
                "state IN ('queued','assigned','running','moderating','in_review','approved')"
            ),
        ),
        Index(
            "jobs_in_review",
            "account_id",
            sql("created_at DESC"),
            sql("id DESC"),
            postgresql_where=sql(f"deleted_at IS NULL AND ({IN_REVIEW})"),
        ),
        Index(
            "jobs_images",
            sql("(spec -> 'conditioning') jsonb_path_ops"),
            postgresql_using="gin",
            postgresql_where=sql(HAS_IMAGES),
        ),
        Index("jobs_completed", sql("ended_at DESC"), postgresql_where=sql("state = 'completed'")),
        Index("jobs_prompt", sql("to_tsvector('simple', prompt)"), postgresql_using="gin"),
        Index(
            "jobs_to_sweep",
            "ended_at",
            postgresql_where=sql("ended_at IS NOT NULL AND swept_at IS NULL"),
        ),
    )

    id: str = c.id_column()
    account_id: str = c.reference("accounts.id", index=False)
    user_id: str = c.reference("users.id", index=False)
    api_key_id: str | None = c.optional_reference("api_keys.id")
    kind: str = c.text(default="create")
    parent_id: str | None = c.optional_reference("jobs.id", index=True)
    tier: str = c.text()
    recipe: str = c.text()
    recipe_revision: str = c.text()
    prompt: str = c.text()
    negative_prompt: str = c.text(default="")
    seconds: str = c.text()
    spec: dict[str, object] = c.data()
    state: str = c.text(default="queued")
    version: int = c.number()
    fence: int = c.number()
    input_verdict: str = c.text(default=InputVerdict.PENDING.value)
    gpu_s: float
    quoted: int
    charged: int | None = Field(default=None)
    charged_steps: int = c.number()
    steps: int
    steps_done: int = c.number()
    phase: str = c.text(default="")
    preview_version: int = c.number()
    preview_key: str | None = c.optional_text()
    checkpoint: dict[str, object] | None = Field(default=None, sa_type=JSONB, nullable=True)
    needs_memory_gb: float = Field(default=0.0, nullable=False, sa_column_kwargs={"server_default": "0"})
    saves_memory: bool = Field(default=False, nullable=False, sa_column_kwargs={"server_default": "false"})
    error_code: str | None = c.optional_text()
    error_message: str | None = c.optional_text()
    clause: str | None = c.optional_text()
    trace_id: str = c.text(default="")
    created_at: Moment = c.created_at()
    started_at: Moment | None = c.optional_moment()
    rendered_at: Moment | None = c.optional_moment()
    ended_at: Moment | None = c.optional_moment()
    swept_at: Moment | None = c.optional_moment()
    deleted_at: Moment | None = c.optional_moment()


class Attempt(SQLModel, table=True):
    """One try. The partial unique indexes are the leases: one live attempt a job, one a seat of a worker's slot.

    Attempts that were made to run in one pass name the same `batch`, lie in one slot and have a `seat` each; of
    others the batch is null. `progressed_at`: when its phase or step last changed. `preempt_until`: until then its
    worker is asked to stop.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("job_id", "fence", name="attempts_fence"),
        Index(
            "attempts_one_live", "job_id", unique=True, postgresql_where=sql("state IN ('ordered','running')")
        ),
        Index(
            "attempts_slot",
            "worker_id",
            "slot",
            "seat",
            unique=True,
            postgresql_where=sql("state IN ('ordered','running')"),
        ),
        Index("attempts_lease", "lease_expires_at", postgresql_where=sql("state IN ('ordered','running')")),
        Index(
            "attempts_ended",
            "worker_id",
            sql("ended_at DESC"),
            postgresql_where=sql("ended_at IS NOT NULL"),
        ),
    )

    id: str = c.id_column()
    job_id: str = c.reference("jobs.id")
    number: int
    fence: int
    worker_id: str = c.text()
    slot: str = c.text()
    seat: int = c.number()
    batch: str | None = c.optional_text()
    batch_size: int = c.number(default=1)
    boot_id: str = c.text(default="")
    state: str = c.text(default="ordered")
    cause: str | None = c.optional_text()
    message: str = c.text(default="")
    ordered_at: Moment = c.created_at()
    order_sent_at: Moment | None = c.optional_moment()
    seen_at: Moment | None = c.optional_moment()
    started_at: Moment | None = c.optional_moment()
    ended_at: Moment | None = c.optional_moment()
    lease_expires_at: Moment = c.moment()
    phase: str = c.text(default="")
    progressed_at: Moment | None = c.optional_moment()
    preempt_until: Moment | None = c.optional_moment()
    step_s: float | None = Field(default=None, nullable=True)
    steps_done: int = c.number()
    resumed_from_step: int = c.number()
    exact_resume: bool = Field(default=True, nullable=False, sa_column_kwargs={"server_default": "true"})
    saves_memory: bool = Field(default=False, nullable=False, sa_column_kwargs={"server_default": "false"})
    identity: str = c.text(default="")
    timings: dict[str, object] = c.data()


class Feedback(SQLModel, table=True):
    """What one person thinks of a clip: favourite, and thumbs (-1, 0, 1)."""

    __tablename__ = "feedback"

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", sa_type=Text)
    user_id: str = Field(primary_key=True, foreign_key="users.id", sa_type=Text)
    favourite: bool = Field(default=False, nullable=False, sa_column_kwargs={"server_default": "false"})
    rating: int = c.number()
    updated_at: Moment = c.created_at()


class IdempotencyKey(SQLModel, table=True):
    """A submission that may be sent again. `fingerprint` is over parsed fields; `job_id` the answer given."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("idempotency_keys_recent", "account_id", "fingerprint", "created_at"),
        Index("idempotency_keys_age", "created_at"),
    )

    account_id: str = Field(primary_key=True, foreign_key="accounts.id", sa_type=Text)
    key: str = Field(primary_key=True, sa_type=Text)
    fingerprint: str = c.text()
    job_id: str = c.reference("jobs.id", index=False)
    created_at: Moment = c.created_at()
