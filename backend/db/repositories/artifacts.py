"""The one way in which an artifact's state is saved."""

from sqlalchemy import ColumnElement, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Artifact
from backend.domain.artifact import ArtifactState, sources_of


async def move(
    session: AsyncSession, target: ArtifactState, *which: ColumnElement[bool], **values: object
) -> int:
    """Put those of these artifacts that may go to `target` there, with `values`; returns how many there were.

    The others stay as they are: someone else was first, and has decided.
    """
    result = await session.execute(
        update(Artifact)
        .where(*which, col(Artifact.state).in_([*sources_of(target)]))
        .values(state=target.value, **values)
        .execution_options(synchronize_session=False)
    )
    return int(getattr(result, "rowcount", 0))
