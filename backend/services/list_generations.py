"""The jobs of the asker's account, by pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import and_, func, or_, text
from sqlmodel import col, select

from backend.auth.principal import Principal
from backend.db.models import Feedback, Job
from backend.db.models.jobs import IN_REVIEW
from backend.domain.errors import InvalidField
from backend.domain.generation import ENDS, JobState
from backend.services.get_generation import load_own
from backend.services.job_view import JobView, views_of
from backend.services.queue_places import with_places
from backend.studio import Studio

MAX_PAGE = 100
MAX_SEARCH_CHARS = 200


class Order(StrEnum):
    """By time of submission."""

    NEWEST_FIRST = "desc"
    OLDEST_FIRST = "asc"


class StateFilter(StrEnum):
    """What the gallery filters by. FAILED: every end without a clip; it is BLOCKED and STOPPED together.

    IN_REVIEW: a person is to decide about it. SETTLED: nothing is rendered for it any more, or a person looks at it.
    """

    ANY = "any"
    UNDER_WAY = "under_way"
    COMPLETED = "completed"
    FAILED = "failed"
    BLOCKED = "blocked"
    STOPPED = "stopped"
    FAVOURITE = "favourite"
    IN_REVIEW = "in_review"
    SETTLED = "settled"


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """One page, and whether there is another."""

    items: tuple[JobView, ...]
    has_more: bool


async def list_generations(
    studio: Studio,
    principal: Principal,
    *,
    after: str | None = None,
    limit: int = 20,
    order: Order = Order.NEWEST_FIRST,
    states: StateFilter = StateFilter.ANY,
    search: str = "",
    with_place: bool = True,
) -> JobPage:
    """A page of jobs after the job `after`. Raises `InvalidField`, and `NotFound` for an unknown `after`."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidField(f"limit is from 1 to {MAX_PAGE}, not {limit}.", param="limit")
    query = select(Job).where(Job.account_id == principal.account_id, col(Job.deleted_at).is_(None))
    match states:
        case StateFilter.UNDER_WAY:
            query = query.where(col(Job.state).in_([s.value for s in JobState if s not in ENDS]))
        case StateFilter.COMPLETED:
            query = query.where(Job.state == JobState.COMPLETED.value)
        case StateFilter.FAILED:
            unsuccessful = ENDS - {JobState.COMPLETED}
            query = query.where(col(Job.state).in_([s.value for s in unsuccessful]))
        case StateFilter.BLOCKED:
            query = query.where(Job.state == JobState.BLOCKED.value)
        case StateFilter.STOPPED:
            query = query.where(col(Job.state).in_([JobState.FAILED.value, JobState.CANCELLED.value]))
        case StateFilter.FAVOURITE:
            liked = select(Feedback.job_id).where(
                Feedback.user_id == principal.user_id, col(Feedback.favourite).is_(True)
            )
            query = query.where(col(Job.id).in_(liked))
        case StateFilter.IN_REVIEW:
            # In the index' own words, so that it is used.
            query = query.where(text(f"({IN_REVIEW})"))
        case StateFilter.SETTLED:
            settled = ENDS | {JobState.IN_REVIEW}
            query = query.where(col(Job.state).in_([s.value for s in settled]))
        case StateFilter.ANY:
            pass
    if words := search.strip()[:MAX_SEARCH_CHARS]:
        query = query.where(
            func.to_tsvector("simple", Job.prompt).op("@@")(func.websearch_to_tsquery("simple", words))
        )
    async with studio.db.reading() as session:
        if after:
            mark = await load_own(session, principal, after)
            newer = order is Order.NEWEST_FIRST
            created, ident = col(Job.created_at), col(Job.id)
            query = query.where(
                or_(created < mark.created_at, and_(created == mark.created_at, ident < mark.id))
                if newer
                else or_(created > mark.created_at, and_(created == mark.created_at, ident > mark.id))
            )
        if order is Order.NEWEST_FIRST:
            query = query.order_by(col(Job.created_at).desc(), col(Job.id).desc())
        else:
            query = query.order_by(col(Job.created_at), col(Job.id))
        rows: Sequence[Job] = (await session.exec(query.limit(limit + 1))).all()
        views = await views_of(session, rows[:limit], user_id=principal.user_id)
    items = await with_places(studio, views) if with_place else views
    return JobPage(items=tuple(items), has_more=len(rows) > limit)
