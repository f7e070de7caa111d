"""What someone thinks of a clip: favourite, thumbs up or down."""

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert

from backend.auth.principal import Principal
from backend.db.models import Feedback
from backend.domain.errors import InvalidField
from backend.services.get_generation import get_generation, load_own
from backend.services.job_view import JobView
from backend.studio import Studio


async def rate_generation(
    studio: Studio,
    principal: Principal,
    job_id: str,
    *,
    favourite: bool | None = None,
    rating: int | None = None,
) -> JobView:
    """Set favourite or rating (-1, 0, 1); None leaves it as it is. Raises `NotFound`, `InvalidField`."""
    if rating is not None and rating not in (-1, 0, 1):
        raise InvalidField("A rating is -1, 0 or 1.", param="rating")
    changes: dict[str, object] = {"updated_at": func.now()}
    if favourite is not None:
        changes["favourite"] = favourite
    if rating is not None:
        changes["rating"] = rating
    async with studio.db.transaction() as session:
        await load_own(session, principal, job_id)
        await session.execute(
            insert(Feedback)
            .values(job_id=job_id, user_id=principal.user_id, **changes)
            .on_conflict_do_update(index_elements=["job_id", "user_id"], set_=changes)
        )
    return await get_generation(studio, principal, job_id, with_place=False)
