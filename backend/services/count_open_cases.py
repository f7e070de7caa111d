"""How many review cases wait for a moderator: the number beside the room's name."""

from sqlmodel import col, func, select

from backend.auth.principal import Principal
from backend.db.models import Job, ReviewCase
from backend.domain.review import CaseState
from backend.services.review_cases import is_open_to, require_moderator
from backend.studio import Studio


async def count_open_cases(studio: Studio, principal: Principal) -> int:
    """The number of open cases that the asker may judge. Raises `NotAllowed` unless the asker may moderate."""
    require_moderator(principal)
    async with studio.db.reading() as session:
        count = await session.exec(
            select(func.count())
            .select_from(ReviewCase)
            .join(Job, col(Job.id) == ReviewCase.job_id)
            .where(ReviewCase.state == CaseState.OPEN.value, is_open_to(principal))
        )
        return int(count.one())
