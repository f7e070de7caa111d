"""Take a job: prompt rules, price, hold, job and outbox; one round trip to the database, all or nothing."""

import json
from collections.abc import Sequence
from datetime import timedelta
from math import ceil

from sqlalchemy import Row, text

from backend import metrics
from backend.auth.principal import Principal
from backend.db.models import IdempotencyKey, Job
from backend.db.repositories import uploads
from backend.db.repositories.tiers import load_tiers
from backend.domain.clean_text import shown
from backend.domain.errors import (
    IdempotencyMismatch,
    InsufficientCredits,
    InvalidField,
    ModerationBlocked,
    QueueLimitReached,
    QuotaExhausted,
    RateLimited,
    TierFull,
    ZoetropeError,
)
from backend.domain.generation import InputVerdict, JobState
from backend.domain.tiers import Tier
from backend.ids import IdPrefix, new_id, new_trace_id
from backend.services.generation_request import GenerationRequest, ResolvedRequest, resolve
from backend.services.get_credits import get_credits
from backend.services.get_generation import get_generation
from backend.services.job_view import JobView
from backend.services.list_generations import MAX_PAGE, Order, StateFilter, list_generations
from backend.services.offer_draft import offer_draft
from backend.services.offered_models import of_an_offered_model
from backend.services.queue_places import ask_wait
from backend.services.renew_credits import renew_credits
from backend.studio import Studio
from moderation.policy import default_policy
from moderation.prompt_rules import judge_texts
from moderation.verdict import Surface, Verdict

_SUBMIT = text("SELECT outcome, job_id, detail FROM submit_generation_v1(CAST(:p AS jsonb))")
MAX_IDEMPOTENCY_KEY_CHARS = 255


async def submit_generation(
    studio: Studio,
    principal: Principal,
    request: GenerationRequest,
    *,
    idempotency_key: str | None = None,
    job_id: str | None = None,
    retried: bool = False,
    first_tries: Sequence[str] = (),
    trace_id: str = "",
    parent_id: str | None = None,
) -> JobView:
    """Accept a generation job, or say why not; then nothing was stored and nothing charged.

    The same `idempotency_key` gives the first job again, unless that was deleted. A request that is `retried` makes
    its job under the first id of `first_tries` that no job has; where there is none, the same request's newest job of
    the last two minutes is the answer, unless it was cancelled or deleted.
    `job_id`: what the job is to be called, by default a new id.
    `parent_id`: the clip that it is made from, of the same account.
    Raises `InvalidField`, `RateLimited`, `ModerationBlocked`, `InsufficientCredits`, `QueueLimitReached`,
    `TierFull`, `QuotaExhausted`, `IdempotencyMismatch`.
    """
    if idempotency_key is not None and not 0 < len(idempotency_key) <= MAX_IDEMPOTENCY_KEY_CHARS:
        raise InvalidField(
            f"An Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY_CHARS} characters.", param="Idempotency-Key"
        )
    fingerprint = request.fingerprint()
    # First of all: what came between the two must not refuse a job that exists.
    if idempotency_key is not None:
        first = await _first_answer(studio, principal, idempotency_key, fingerprint)
        if first is not None:
            return first
    async with studio.db.reading() as session:
        tiers = await load_tiers(session)
    tier = tiers[principal.tier]
    request = await of_an_offered_model(studio, request)
    resolved = resolve(request, tier)
    await _in_time(studio, principal, tier)
    if request.draft_if_busy:
        resolved = await _draft_if_busy(studio, principal, request, tier) or resolved
    await _take_uploads(studio, principal, request)
    input_verdict = _screen_text(resolved, tier)
    payload: dict[str, object] = {
        "account_id": principal.account_id,
        "user_id": principal.user_id,
        "api_key_id": principal.api_key_id,
        "job_id": job_id or new_id(IdPrefix.VIDEO),
        "hold_id": new_id(IdPrefix.HOLD),
        "transaction_id": new_id(IdPrefix.LEDGER_ENTRY),
        "kind": "create",
        "parent_id": parent_id,
        "tier": principal.tier,
        "recipe": resolved.recipe.name,
        "recipe_revision": resolved.recipe.revision,
        "prompt": resolved.prompt,
        "negative_prompt": resolved.negative_prompt,
        "seconds": resolved.seconds,
        "spec": resolved.spec().to_json(),
        "input_verdict": input_verdict.value,
        "gpu_s": resolved.gpu_s,
        "quoted": resolved.quoted,
        "steps": resolved.num_inference_steps,
        "trace_id": trace_id or new_trace_id(),
        "idempotency_key": idempotency_key,
        "fingerprint": fingerprint,
        "retried": retried,
        "first_tries": list(first_tries),
        "queue_limit": tier.queue_limit,
        "daily_jobs": tier.daily_jobs,
        "month_looked_at": False,
        "tier_full": await studio.wakeups.full_for(principal.tier) is not None,
    }
    row = await _store(studio, payload)
    if row.outcome == "month_due":
        await renew_credits(studio, principal.account_id)
        row = await _store(studio, payload | {"month_looked_at": True})
    match row.outcome:
        case "created" | "repeated":
            if row.outcome == "created":
                queued = JobState.QUEUED.value
                metrics.job_transitions.labels(queued, resolved.recipe.name, tier.name).inc()
            await studio.wakeups.account_changed(principal.account_id, row.job_id)
            # Without its place: that is the leader's to say, and it may be away.
            return await get_generation(studio, principal, row.job_id, with_place=False)
        case "mismatch":
            raise IdempotencyMismatch(param="Idempotency-Key")
        case "queue_limit" | "tier_full" | "daily_quota" | "insufficient_credits" as refused:
            metrics.submissions_refused.labels(refused, tier.name).inc()
            raise await _refusal(studio, principal, refused, tier, resolved, int(row.detail))
        case other:
            raise RuntimeError(f"submit_generation_v1 answered {other!r}")


async def _first_answer(
    studio: Studio, principal: Principal, idempotency_key: str, fingerprint: str
) -> JobView | None:
    """The job that was sent with this key before, unless it was deleted.

    Raises `IdempotencyMismatch` where the request was another.
    """
    async with studio.db.reading() as session:
        known = await session.get(IdempotencyKey, (principal.account_id, idempotency_key))
        if known is None:
            return None
        if known.fingerprint != fingerprint:
            raise IdempotencyMismatch(param="Idempotency-Key")
        if (await session.get_one(Job, known.job_id)).deleted_at is not None:
            return None
    return await get_generation(studio, principal, known.job_id, with_place=False)


async def _refusal(
    studio: Studio, principal: Principal, refused: str, tier: Tier, resolved: ResolvedRequest, found: int
) -> ZoetropeError:
    """Why not, in the account's own figures, and when it will work again where that is known."""
    match refused:
        case "queue_limit":
            ends_in = await _next_end(studio, principal)
            hint = f" The next one is expected in {_said(ends_in)}." if ends_in else ""
            return QueueLimitReached(
                f"{found} jobs of this account are waiting or running, as many as the {tier.name} tier allows."
                f" Wait for one to end, or cancel one.{hint}",
                retry_after=ends_in,
            )
        case "tier_full":
            return await _full(studio, principal, tier, resolved)
        case "daily_quota":
            # How many were sent is not counted beyond the quota, which may have been lowered since.
            jobs = "1 job" if tier.daily_jobs == 1 else f"{tier.daily_jobs} jobs"
            are = "is" if tier.daily_jobs == 1 else "are"
            return QuotaExhausted(
                f"Today's {jobs} of the {tier.name} tier {are} used. The next day begins at midnight UTC.",
                retry_after=_until_midnight(studio),
            )
        case _:
            message, works_in = (await get_credits(studio, principal)).shortfall(resolved.quoted)
            return InsufficientCredits(message, retry_after=works_in)


async def _full(studio: Studio, principal: Principal, tier: Tier, resolved: ResolvedRequest) -> TierFull:
    again_s = await studio.wakeups.full_for(principal.tier) or 5.0
    wait = await ask_wait(studio, principal, resolved)
    expected = f" A clip sent now would take about {_said(timedelta(seconds=wait[0]))}." if wait else ""
    again = timedelta(seconds=again_s)
    return TierFull(
        f"So many people of the {tier.name} tier wait that another clip could not start in time.{expected}"
        f" Nothing was charged. Try again in {_said(again)}.",
        retry_after=again,
    )


async def _next_end(studio: Studio, principal: Principal) -> timedelta | None:
    """When the first of the account's jobs is expected to end; None while nobody knows."""
    page = await list_generations(
        studio, principal, limit=MAX_PAGE, order=Order.OLDEST_FIRST, states=StateFilter.UNDER_WAY
    )
    known = [job.place.p50_s for job in page.items if job.place and job.place.p50_s is not None]
    return timedelta(seconds=max(1.0, min(known))) if known else None


def _said(wait: timedelta) -> str:
    seconds = wait.total_seconds()
    return f"{ceil(seconds)} s" if seconds < 120 else f"{ceil(seconds / 60)} min"


async def _in_time(studio: Studio, principal: Principal, tier: Tier) -> None:
    """Whether the account sends no faster than its tier allows. Raises `RateLimited`."""
    wait = await studio.rates.take(f"submit:{principal.account_id}", per_minute=tier.submits_per_minute)
    if wait is not None:
        metrics.submissions_refused.labels("too_fast", tier.name).inc()
        raise RateLimited(
            f"That is faster than the {tier.name} tier allows: {tier.submits_per_minute} submissions a minute."
            f" The next one is taken in {_said(wait)}.",
            retry_after=wait,
        )


async def _draft_if_busy(
    studio: Studio, principal: Principal, request: GenerationRequest, tier: Tier
) -> ResolvedRequest | None:
    resolved = resolve(request, tier)
    wait = await ask_wait(studio, principal, resolved)
    offer = await offer_draft(studio, principal, request, tier, wait)
    return offer.request if offer else None


async def _store(studio: Studio, payload: dict[str, object]) -> Row[tuple[str, str, int]]:
    async with studio.db.transaction() as session:
        return (await session.execute(_SUBMIT, {"p": json.dumps(payload)})).one()


def _screen_text(resolved: ResolvedRequest, tier: Tier) -> InputVerdict:
    """The rules' verdict at once. Text alone that the rules allow needs no further check."""
    policy = default_policy()
    ruling = judge_texts(
        {Surface.PROMPT: resolved.prompt, Surface.NEGATIVE_PROMPT: resolved.negative_prompt}, policy
    )
    if ruling.verdict is Verdict.BLOCK:
        found = next(f for f in ruling.findings if f.verdict is Verdict.BLOCK)
        metrics.verdicts.labels("input", "block", found.clause).inc()
        metrics.submissions_refused.labels("moderation_blocked", tier.name).inc()
        raise ModerationBlocked(
            policy.clause(found.clause).creator_text, param=found.surface.value, clause=found.clause
        )
    needs_a_look = ruling.verdict is Verdict.REVIEW or resolved.conditioning
    return InputVerdict.PENDING if needs_a_look else InputVerdict.ALLOW


async def _take_uploads(studio: Studio, principal: Principal, request: GenerationRequest) -> None:
    wanted = {image.upload_id for image in request.conditioning}
    if not wanted:
        return
    async with studio.db.transaction() as session:
        found = await uploads.take(session, principal.account_id, wanted)
    if missing := wanted - found:
        raise InvalidField(
            f"There is no upload {shown(sorted(missing)[0])!r}, or it is no longer kept.",
            param="input_reference",
        )


def _until_midnight(studio: Studio) -> timedelta:
    now = studio.clock.now()
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - now
