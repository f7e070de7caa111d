"""Whether something of a job may be fetched, and where it lies.

Asked at every serving; only `released` is served.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import select

from backend.auth.principal import Principal
from backend.db.models import Artifact
from backend.domain.artifact import GONE, ArtifactKind, ArtifactState
from backend.domain.errors import NotFound
from backend.domain.object_keys import job_of_judged
from backend.services.get_generation import load_own
from backend.storage import Reader
from backend.studio import Studio

_WHY_NOT = {
    ArtifactState.WITHHELD: "There is nothing to fetch: this clip was not released.",
    ArtifactState.TAKEN_DOWN: "This clip was taken down by a moderator.",
    ArtifactState.EXPIRED: "This clip has expired.",
    ArtifactState.DELETED: "This clip was deleted.",
}


@dataclass(frozen=True, kw_only=True)
class LocatedArtifact:
    """One object that may be served to the asker, now."""

    job_id: str
    kind: ArtifactKind
    key: str
    content_type: str
    size_bytes: int
    sha256: str
    released_at: datetime | None

    @property
    def filename(self) -> str:
        """What a download is called."""
        ending = {"video/mp4": "mp4", "image/webp": "webp", "image/png": "png", "image/jpeg": "jpg"}
        suffix = "" if self.kind is ArtifactKind.VIDEO else f"-{self.kind.value}"
        return f"{self.job_id}{suffix}.{ending.get(self.content_type, 'bin')}"


async def may_be_served(studio: Studio, key: str, reader: Reader) -> bool:
    """Whether a signed URL of this object still counts: a clip may have been deleted or taken down since it was signed.

    A moderator also sees what is withheld or taken down. Objects that are never shown (an attempt's own, uploads) go
    by their signature alone.
    """
    job_id = job_of_judged(key)
    if job_id is None:
        return True
    async with studio.db.reading() as session:
        state = await session.scalar(
            select(Artifact.state).where(Artifact.job_id == job_id, Artifact.key == key)
        )
    if reader is Reader.MODERATOR:
        return state is not None and state not in GONE
    return bool(state == ArtifactState.RELEASED)


async def locate_artifact(
    studio: Studio, principal: Principal, job_id: str, kind: ArtifactKind
) -> LocatedArtifact:
    """The released object of the asker's job. Raises `NotFound`, saying why where the asker may know."""
    async with studio.db.reading() as session:
        await load_own(session, principal, job_id)
        row = (
            await session.exec(select(Artifact).where(Artifact.job_id == job_id, Artifact.kind == kind.value))
        ).one_or_none()
    if row is None:
        raise NotFound("There is nothing to fetch yet: this clip isn't completed.", param="video_id")
    state = ArtifactState(row.state)
    if state is not ArtifactState.RELEASED:
        raise NotFound(_WHY_NOT[state], param="video_id")
    return LocatedArtifact(
        job_id=job_id,
        kind=kind,
        key=row.key,
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        released_at=row.released_at,
    )
