"""What lies in storage: artifacts of jobs, and images that creators uploaded. Rows hold keys and hashes."""

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from backend.db.models import columns as c
from backend.db.models.columns import Moment


class Artifact(SQLModel, table=True):
    """One object of a job. Only `released` is served; `sha256` is of the bytes the verdict was given on.

    `state` changes only through `repositories.artifacts.move`. `key` is the worker's until the object was judged, and
    from then on one that no worker can write to. `expires_at`: when retention, or the keeping of evidence, ends.
    """

    __tablename__ = "artifacts"
    __table_args__ = (
        UniqueConstraint("job_id", "kind", name="artifacts_one_a_kind"),
        Index(
            "artifacts_to_sweep",
            "job_id",
            postgresql_where=sql("state IN ('deleted','expired') AND swept_at IS NULL"),
        ),
        Index(
            "artifacts_expiring",
            "expires_at",
            postgresql_where=sql("state IN ('withheld','released','taken_down')"),
        ),
    )

    id: str = c.id_column()
    job_id: str = c.reference("jobs.id", index=False)
    kind: str = c.text()
    fence: int
    key: str = c.text()
    sha256: str = c.text()
    size_bytes: int = Field(sa_type=BigInteger)
    content_type: str = c.text()
    width: int = c.number()
    height: int = c.number()
    num_frames: int = c.number(1)
    columns: int = c.number(1)
    fps: float = Field(default=0.0)
    duration_s: float = Field(default=0.0)
    state: str = c.text(default="withheld")
    created_at: Moment = c.created_at()
    released_at: Moment | None = c.optional_moment()
    expires_at: Moment | None = c.optional_moment()
    swept_at: Moment | None = c.optional_moment()


class Upload(SQLModel, table=True):
    """An image that a creator gave, clean and re-encoded. Verdicts on it are rows of `verdicts`, one a job.

    `touched_at`: when it was last given, named by a job, or found to be needed.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        Index("uploads_of_account", "account_id", "sha256"),
        Index("uploads_to_look_at", "touched_at", postgresql_where=sql("state IN ('arriving','stored')")),
        Index("uploads_to_sweep", "touched_at", postgresql_where=sql("state = 'removed'")),
    )

    id: str = c.id_column()
    account_id: str = c.reference("accounts.id", index=False)
    user_id: str = c.reference("users.id", index=False)
    key: str = c.text()
    sha256: str = c.text()
    content_type: str = c.text()
    width: int
    height: int
    size_bytes: int = Field(sa_type=BigInteger)
    state: str = c.text(default="arriving")
    created_at: Moment = c.created_at()
    touched_at: Moment = c.created_at()
