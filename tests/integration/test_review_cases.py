"""Who may judge what: nobody their own clip, and evidence only for whoever has the case in hand."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import select

from backend.auth.principal import Principal, Role
from backend.db.models import AuditEntry
from backend.domain.errors import Conflict, NotAllowed, NotFound
from backend.services.count_open_cases import count_open_cases
from backend.services.decide_review import apply_decision, decide_review, undo_review
from backend.services.moderate_generation import moderate_generation
from backend.services.review_cases import claim_case, evidence_key, list_cases
from backend.studio import Studio
from moderation.verdict import Verdict
from tests.integration.life_rig import MessageWorker, judge, make_creator, submit


async def case_of(studio: Studio, worker: MessageWorker, owner: Principal) -> str:
    """The id of a case about a clip of this person."""
    job = await submit(studio, owner)
    await worker.finish(await worker.take(job.id))
    await moderate_generation(studio, job.id, judge(Verdict.REVIEW))
    async with studio.db.reading() as session:
        found = await session.execute(text("SELECT id FROM review_cases WHERE job_id = :id"), {"id": job.id})
        return str(found.scalar_one())


async def decisions(studio: Studio) -> list[AuditEntry]:
    async with studio.db.reading() as session:
        return list((await session.exec(select(AuditEntry).where(AuditEntry.action == "review.allow"))).all())


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.ADMIN])
async def test_nobody_judges_a_clip_of_their_own_while_somebody_else_can(
    studio: Studio, worker: MessageWorker, role: Role
) -> None:
    owner = await make_creator(studio, role=role)
    other = await make_creator(studio, role=Role.MODERATOR)
    case_id = await case_of(studio, worker, owner)
    assert await list_cases(studio, owner) == []
    assert [await count_open_cases(studio, person) for person in (owner, other)] == [0, 1]
    with pytest.raises(NotAllowed, match="another moderator"):
        await claim_case(studio, owner, case_id)
    for decision in ("allow", "block"):
        with pytest.raises(NotAllowed, match="another moderator"):
            await decide_review(studio, owner, case_id, decision=decision)
    assert [case.id for case in await list_cases(studio, other)] == [case_id]
    await claim_case(studio, other, case_id)
    await decide_review(studio, other, case_id, decision="allow")
    assert [entry.detail["own_clip"] for entry in await decisions(studio)] == [False]


async def test_an_admin_alone_in_the_studio_judges_their_own_and_the_audit_says_so(
    studio: Studio, worker: MessageWorker
) -> None:
    admin = await make_creator(studio, role=Role.ADMIN)
    await make_creator(studio)
    gone = await make_creator(studio, role=Role.MODERATOR)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE users SET suspended_at = now() WHERE id = :id"), {"id": gone.user_id}
        )
    case_id = await case_of(studio, worker, admin)
    assert [case.id for case in await list_cases(studio, admin)] == [case_id]
    await claim_case(studio, admin, case_id)
    await decide_review(studio, admin, case_id, decision="allow")
    assert [entry.detail["own_clip"] for entry in await decisions(studio)] == [True]


async def test_a_moderator_alone_in_the_studio_still_does_not_judge_their_own(
    studio: Studio, worker: MessageWorker
) -> None:
    moderator = await make_creator(studio, role=Role.MODERATOR)
    case_id = await case_of(studio, worker, moderator)
    with pytest.raises(NotAllowed):
        await decide_review(studio, moderator, case_id, decision="allow")


async def test_evidence_is_open_to_whoever_has_the_case_in_hand(
    studio: Studio, worker: MessageWorker
) -> None:
    one, two = [await make_creator(studio, role=Role.MODERATOR) for _ in range(2)]
    case_id = await case_of(studio, worker, await make_creator(studio))
    for moderator in (one, two):
        with pytest.raises(NotFound):
            await evidence_key(studio, moderator, case_id, "video")
    await claim_case(studio, one, case_id)
    assert await evidence_key(studio, one, case_id, "video")
    with pytest.raises(NotFound):
        await evidence_key(studio, two, case_id, "video")
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE review_cases SET claim_expires_at = clock_timestamp()"))
    with pytest.raises(NotFound):
        await evidence_key(studio, one, case_id, "video")


async def test_evidence_is_closed_again_once_a_decision_took_effect(
    studio: Studio, worker: MessageWorker
) -> None:
    one, two = [await make_creator(studio, role=Role.MODERATOR) for _ in range(2)]
    blocked, allowed = [await case_of(studio, worker, await make_creator(studio)) for _ in range(2)]
    for case_id, decision in ((blocked, "block"), (allowed, "allow")):
        await claim_case(studio, one, case_id)
        await decide_review(studio, one, case_id, decision=decision, undo=timedelta(0))
    with pytest.raises(NotFound):
        await evidence_key(studio, one, blocked, "video")
    assert await evidence_key(studio, one, allowed, "video")
    with pytest.raises(NotFound):
        await evidence_key(studio, two, allowed, "video")
    await apply_decision(studio, allowed, 1)
    with pytest.raises(NotFound):
        await evidence_key(studio, one, allowed, "video")
    for case_id in (blocked, allowed):
        with pytest.raises(Conflict, match="decided"):
            await claim_case(studio, two, case_id)


async def test_an_allow_that_was_taken_back_opens_the_evidence_to_who_takes_the_case(
    studio: Studio, worker: MessageWorker
) -> None:
    one = await make_creator(studio, role=Role.MODERATOR)
    case_id = await case_of(studio, worker, await make_creator(studio))
    await claim_case(studio, one, case_id)
    await decide_review(studio, one, case_id, decision="allow")
    await undo_review(studio, one, case_id)
    await claim_case(studio, one, case_id)
    assert await evidence_key(studio, one, case_id, "video")


async def state_of(studio: Studio, case_id: str) -> str:
    async with studio.db.reading() as session:
        found = await session.execute(text("SELECT state FROM review_cases WHERE id = :id"), {"id": case_id})
        return str(found.scalar_one())


async def test_an_allow_that_was_taken_back_does_not_cut_the_minute_of_the_next_one_short(
    studio: Studio, worker: MessageWorker
) -> None:
    one = await make_creator(studio, role=Role.MODERATOR)
    case_id = await case_of(studio, worker, await make_creator(studio))
    await decide_review(studio, one, case_id, decision="allow")
    await undo_review(studio, one, case_id)
    await decide_review(studio, one, case_id, decision="allow")
    async with studio.db.reading() as session:
        told = await session.execute(
            text("SELECT (payload->>'version')::int FROM outbox WHERE subject = :id ORDER BY id"),
            {"id": case_id},
        )
        first, second = told.scalars().all()
    await apply_decision(studio, case_id, first)
    assert await state_of(studio, case_id) == "decided"
    await apply_decision(studio, case_id, second)
    assert await state_of(studio, case_id) == "effective"


async def test_a_second_press_decides_neither_the_case_again_nor_the_next(
    studio: Studio, worker: MessageWorker
) -> None:
    one = await make_creator(studio, role=Role.MODERATOR)
    seen, unseen = [await case_of(studio, worker, await make_creator(studio)) for _ in range(2)]
    await decide_review(studio, one, seen, decision="block")
    for decision in ("block", "allow"):
        with pytest.raises(Conflict, match="decided already"):
            await decide_review(studio, one, seen, decision=decision)
    assert await state_of(studio, seen) == "effective"
    assert await state_of(studio, unseen) == "open"


async def test_only_who_decided_takes_it_back(studio: Studio, worker: MessageWorker) -> None:
    one, two = [await make_creator(studio, role=Role.MODERATOR) for _ in range(2)]
    case_id = await case_of(studio, worker, await make_creator(studio))
    await decide_review(studio, one, case_id, decision="allow")
    with pytest.raises(Conflict, match="can't be undone"):
        await undo_review(studio, two, case_id)
    assert await state_of(studio, case_id) == "decided"
    await undo_review(studio, one, case_id)
    assert await state_of(studio, case_id) == "open"
