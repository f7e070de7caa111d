"""The gateway over backend.services: the one module of the web app that imports them.

Each method asks one use case or two and says the answer in the pages' words (frontend.wording).
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from functools import update_wrapper
from math import isfinite, nan
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from backend.auth.principal import Principal, Role
from backend.db.away import is_away
from backend.domain import errors
from backend.recipes import CATALOGUE, DEFAULT_RECIPE
from backend.services.cancel_generation import cancel_generation
from backend.services.count_open_cases import count_open_cases
from backend.services.create_api_key import create_api_key
from backend.services.decide_review import decide_review, undo_review
from backend.services.delete_generation import delete_generation
from backend.services.generation_request import ConditioningRequest, GenerationRequest
from backend.services.get_account import get_account
from backend.services.get_credits import get_credits
from backend.services.get_generation import get_generation
from backend.services.get_receipt import get_receipt
from backend.services.identify import identify_cookie
from backend.services.list_api_keys import list_api_keys
from backend.services.list_attempts import list_attempts
from backend.services.list_generations import Order, StateFilter, list_generations
from backend.services.list_ledger import list_ledger
from backend.services.list_receipts import list_receipts
from backend.services.media_origin import media_origin
from backend.services.offered_models import offered_models
from backend.services.quote_generation import quote_generation
from backend.services.rate_generation import rate_generation
from backend.services.read_invitation import read_invitation
from backend.services.repeat_generation import repeat_generation, request_of
from backend.services.review_cases import claim_case, list_cases
from backend.services.revoke_api_key import revoke_api_key
from backend.services.submit_generation import submit_generation
from backend.storage import StorageUnavailable
from backend.web_process import WebProcess
from frontend import money_wording, wording
from frontend.attempt_wording import attempts_param
from frontend.clean_arguments import cleaned
from frontend.gateway import MOST_UNDER_WAY, Changes, NotAllowed, NotSignedIn, Refused, Unavailable
from frontend.money_views import CreditsView, ReceiptPage
from frontend.views import (
    AccountView,
    CaseView,
    ClipPage,
    ClipView,
    DoorView,
    Draft,
    JobView,
    KeyView,
    LedgerPage,
    ModelView,
    QuoteView,
)

_AWAY = (RedisError, StorageUnavailable, ConnectionError)
_FIELDS = {"num_inference_steps": "steps", "guidance_scale": "guidance", "input_reference": "image_id"}
_FIELD_WORDS = {"num_inference_steps": "Steps", "guidance_scale": "Guidance", "input_reference": "Image"}
_MOST_PROMPT_CHARS = 5000
_SHOWS = {
    "ready": StateFilter.COMPLETED,
    "favourites": StateFilter.FAVOURITE,
    "review": StateFilter.IN_REVIEW,
    "blocked": StateFilter.BLOCKED,
    "stopped": StateFilter.STOPPED,
    "all": StateFilter.SETTLED,
}
_MOST_ENDED = 6
_ENDED_SHOWN_FOR = timedelta(hours=1)
_LEDGER_PAGE = 6


P = ParamSpec("P")
T = TypeVar("T")


def _said_to_pages(
    method: Callable[Concatenate["StudioGateway", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["StudioGateway", P], Coroutine[Any, Any, T]]:
    """Turn what use cases raise into what pages know."""

    signature = inspect.signature(method)
    ask = cast(Callable[..., Coroutine[Any, Any, T]], method)

    async def wrapped(self: "StudioGateway", /, *values: P.args, **named: P.kwargs) -> T:
        try:
            sent = signature.bind(self, *values, **named)
            cleaned(signature, sent)
            return await ask(*sent.args, **sent.kwargs)
        except errors.NotSignedIn as error:
            raise NotSignedIn from error
        except errors.NotAllowed as error:
            raise NotAllowed from error
        except errors.ZoetropeError as error:
            field = error.param or ""
            again_at = ""
            if error.retry_after is not None:
                again_at = (self._process.studio.clock.now() + error.retry_after).isoformat()
            words = _in_page_words(error.message)
            raise Refused(words, _FIELDS.get(field, field), error.code, again_at) from error
        except _AWAY as error:
            raise Unavailable from error
        except SQLAlchemyError as error:
            if not is_away(error):
                raise
            raise Unavailable from error

    update_wrapper(wrapped, method)
    return wrapped


class StudioGateway:
    """Asks the use cases of one web process."""

    def __init__(self, process: WebProcess) -> None:
        self._process = process

    @_said_to_pages
    async def who_is(self, cookie: str) -> AccountView:
        """The account of a `Cookie` header, with its credits now; the empty account for nobody."""
        principal = await identify_cookie(self._process.studio, cookie)
        if principal is None:
            return AccountView()
        account = await get_account(self._process.studio, principal)
        return AccountView(
            id=account.account_id,
            user_id=principal.user_id,
            role=principal.role.value,
            email=account.email,
            tier=account.tier,
            credits=account.available,
            credits_label=f"{account.available:,}",
            held_credits=account.held,
            may_moderate=account.may_moderate,
            has_password=account.has_password,
            signed_in=True,
        )

    @_said_to_pages
    async def door(self, *, invitation: str = "") -> DoorView:
        """How one gets in here, and what an invitation offers."""
        studio = self._process.studio
        found = await read_invitation(studio, invitation)
        return DoorView(
            signup=studio.settings.signup.value,
            sends_mail=studio.mailer.enabled,
            place=urlsplit(studio.settings.public_url).netloc,
            invitation="" if not invitation else "good" if found else "ended",
            invited_email=(found.email or "") if found else "",
            invited_tier=found.tier if found else "",
        )

    @_said_to_pages
    async def models(self, who: AccountView) -> list[ModelView]:
        """What workers serve, the default first."""
        offered = await offered_models(self._process.studio)
        return [wording.model_view(recipe) for recipe in offered.values()]

    @_said_to_pages
    async def quote(self, who: AccountView, draft: Draft) -> QuoteView:
        """Price and wait; an empty prompt costs what a full one does."""
        request = _request(draft, prompt=draft.prompt or "a clip")
        studio = self._process.studio
        quote = await quote_generation(studio, _principal(who), request)
        note, again_at = money_wording.shortfall(quote, now=studio.clock.now())
        return replace(wording.quote_view(quote), note=note, again_at=again_at)

    @_said_to_pages
    async def unknown_words(self, who: AccountView, *, model: str, prompt: str) -> str:
        """Read the prompt as the model does."""
        return wording.unknown_words(model or DEFAULT_RECIPE, prompt[:_MOST_PROMPT_CHARS])

    @_said_to_pages
    async def submit(self, who: AccountView, draft: Draft) -> JobView:
        """A new job, or the first one again for the same key of the composer."""
        job = await submit_generation(
            self._process.studio,
            _principal(who),
            _request(draft, prompt=draft.prompt),
            idempotency_key=draft.idempotency_key or None,
        )
        return wording.job_view(job)

    @_said_to_pages
    async def jobs(self, who: AccountView) -> list[JobView]:
        """Jobs under way, the oldest first, then those that ended without a clip within the hour."""
        studio, principal = self._process.studio, _principal(who)
        under_way, ended = await asyncio.gather(
            list_generations(
                studio,
                principal,
                limit=MOST_UNDER_WAY,
                order=Order.OLDEST_FIRST,
                states=StateFilter.UNDER_WAY,
            ),
            list_generations(
                studio, principal, limit=_MOST_ENDED, states=StateFilter.FAILED, with_place=False
            ),
        )
        since = studio.clock.now() - _ENDED_SHOWN_FOR
        lately = [job for job in ended.items if job.ended_at is not None and job.ended_at > since]
        return [wording.job_view(job, runs_it=_runs_it(who)) for job in (*under_way.items, *lately)]

    @_said_to_pages
    async def cancel(self, who: AccountView, job_id: str, *, seen_steps: int | None = None) -> JobView:
        """Stop a job and say what it cost: no more than was seen."""
        studio, principal = self._process.studio, _principal(who)
        return wording.job_view(await cancel_generation(studio, principal, job_id, seen_steps=seen_steps))

    @_said_to_pages
    async def retry(self, who: AccountView, job_id: str) -> JobView:
        """The same as a new job, which takes the place of the one before; what that cost stays in its receipt."""
        studio, principal = self._process.studio, _principal(who)
        again = await repeat_generation(studio, principal, job_id)
        await delete_generation(studio, principal, job_id)
        return wording.job_view(again)

    @_said_to_pages
    async def vary(self, who: AccountView, clip_id: str, *, press: str) -> JobView:
        """The same request with a seed of the studio's choice."""
        studio, principal = self._process.studio, _principal(who)
        request = replace(await request_of(studio, principal, clip_id), seed=None)
        return wording.job_view(
            await submit_generation(
                studio,
                principal,
                request,
                idempotency_key=f"vary:{clip_id}:{press}",
                parent_id=clip_id,
            )
        )

    @_said_to_pages
    async def remove(self, who: AccountView, job_id: str) -> None:
        """Delete an ended job."""
        studio, principal = self._process.studio, _principal(who)
        job = await get_generation(studio, principal, job_id, with_place=False)
        if job.ended:
            await delete_generation(studio, principal, job_id)

    @_said_to_pages
    async def clips(
        self, who: AccountView, *, search: str = "", show: str = "ready", cursor: str = "", limit: int = 40
    ) -> ClipPage:
        """A page of the gallery."""
        page = await list_generations(
            self._process.studio,
            _principal(who),
            after=cursor or None,
            limit=limit,
            states=_SHOWS.get(show, StateFilter.COMPLETED),
            search=search,
            with_place=False,
        )
        last = page.items[-1].id if page.has_more and page.items else ""
        return ClipPage(clips=[wording.clip_view(job) for job in page.items], cursor=last)

    @_said_to_pages
    async def clip(self, who: AccountView, clip_id: str) -> ClipView | None:
        """One clip with its parameters, and the ready clips before and after it."""
        studio, principal = self._process.studio, _principal(who)
        try:
            job = await get_generation(studio, principal, clip_id, with_place=False)
            receipt = await get_receipt(studio, principal, clip_id)
            attempts = await list_attempts(studio, principal, clip_id)
            made_by = await request_of(studio, principal, clip_id)
        except errors.NotFound:
            return None
        shown = wording.clip_view(job, with_parameters=True, image_id=_image_of(made_by))
        newer, older = await asyncio.gather(
            *(
                list_generations(
                    studio,
                    principal,
                    after=job.id,
                    limit=1,
                    order=order,
                    states=StateFilter.COMPLETED,
                    with_place=False,
                )
                for order in (Order.OLDEST_FIRST, Order.NEWEST_FIRST)
            )
        )
        return replace(
            shown,
            params=[*shown.params, *attempts_param(attempts)],
            receipt=money_wording.receipt_view(receipt),
            newer_id=next((found.id for found in newer.items), ""),
            older_id=next((found.id for found in older.items), ""),
            again_price=wording.credits(job.quoted),
        )

    @_said_to_pages
    async def set_favourite(self, who: AccountView, clip_id: str, favourite: bool) -> None:
        """Mark or unmark."""
        await rate_generation(self._process.studio, _principal(who), clip_id, favourite=favourite)

    @_said_to_pages
    async def rate(self, who: AccountView, clip_id: str, rating: int) -> None:
        """Thumbs."""
        await rate_generation(self._process.studio, _principal(who), clip_id, rating=rating)

    @_said_to_pages
    async def delete_clips(self, who: AccountView, clip_ids: Sequence[str]) -> int:
        """Delete them; those that are gone already are not counted."""
        gone = 0
        for clip_id in clip_ids:
            try:
                await delete_generation(self._process.studio, _principal(who), clip_id)
            except errors.NotFound:
                continue
            gone += 1
        return gone

    @_said_to_pages
    async def settings_of(self, who: AccountView, clip_id: str) -> Draft | None:
        """The draft that made a clip."""
        try:
            request = await request_of(self._process.studio, _principal(who), clip_id)
        except errors.NotFound:
            return None
        return Draft(
            prompt=request.prompt,
            model=request.model or "",
            size=request.size or "",
            seconds=request.seconds or "",
            steps=str(request.num_inference_steps or ""),
            seed="" if request.seed is None else str(request.seed),
            guidance="" if request.guidance_scale is None else f"{request.guidance_scale:g}",
            negative_prompt=request.negative_prompt,
            image_id=_image_of(request),
        )

    @_said_to_pages
    async def ledger(self, who: AccountView, *, cursor: str = "") -> LedgerPage:
        """A page of the ledger."""
        before = int(cursor) if cursor.isdecimal() and len(cursor) < 19 else 0
        lines = await list_ledger(self._process.studio, _principal(who), before=before, limit=_LEDGER_PAGE)
        return LedgerPage(
            entries=[wording.ledger_view(line) for line in lines.items],
            cursor=str(lines.items[-1].id) if lines.has_more else "",
        )

    @_said_to_pages
    async def credits(self, who: AccountView) -> CreditsView:
        """Credits by grant."""
        return money_wording.credits_view(await get_credits(self._process.studio, _principal(who)))

    @_said_to_pages
    async def receipts(self, who: AccountView, *, cursor: str = "") -> ReceiptPage:
        """A page of receipts."""
        page = await list_receipts(self._process.studio, _principal(who), before=cursor, limit=_LEDGER_PAGE)
        return ReceiptPage(
            receipts=[money_wording.receipt_view(receipt) for receipt in page.items],
            cursor=page.items[-1].hold_id if page.has_more else "",
        )

    @_said_to_pages
    async def keys(self, who: AccountView) -> list[KeyView]:
        """All keys, ended ones too."""
        now = self._process.studio.clock.now()
        return [
            wording.key_view(key, now=now)
            for key in await list_api_keys(self._process.studio, _principal(who))
        ]

    @_said_to_pages
    async def create_key(
        self, who: AccountView, *, name: str, scopes: Sequence[str], expires_in_days: int | None
    ) -> tuple[KeyView, str]:
        """A new key and its secret."""
        created = await create_api_key(
            self._process.studio,
            _principal(who),
            name=name,
            scopes=scopes,
            expires_in=None if expires_in_days is None else timedelta(days=expires_in_days),
        )
        return wording.key_view(created.key, now=self._process.studio.clock.now()), created.secret

    @_said_to_pages
    async def revoke_key(self, who: AccountView, key_id: str) -> None:
        """End a key."""
        await revoke_api_key(self._process.studio, _principal(who), key_id)

    @_said_to_pages
    async def cases(self, who: AccountView) -> list[CaseView]:
        """Open cases, without evidence."""
        cases = await list_cases(self._process.studio, _principal(who))
        return [wording.case_view(case) for case in cases if wording.is_open(case)]

    @_said_to_pages
    async def waiting_cases(self, who: AccountView) -> int:
        """The number of open cases."""
        return await count_open_cases(self._process.studio, _principal(who))

    @_said_to_pages
    async def take_case(self, who: AccountView, case_id: str) -> CaseView:
        """Claim a case for this moderator, and lay its evidence open."""
        case = await claim_case(self._process.studio, _principal(who), case_id)
        recipe = CATALOGUE.get(case.model)
        return wording.case_view(case, with_evidence=True, fps=recipe.fps if recipe else 0)

    @_said_to_pages
    async def decide(self, who: AccountView, case_id: str, *, allow: bool, note: str) -> None:
        """Decide a case."""
        await decide_review(
            self._process.studio, _principal(who), case_id, decision="allow" if allow else "block", note=note
        )

    @_said_to_pages
    async def undo_decision(self, who: AccountView, case_id: str) -> None:
        """Take an allow back within its minute."""
        await undo_review(self._process.studio, _principal(who), case_id)

    async def media_origin(self) -> str:
        """Where clips come from, for the pages' policy."""
        return await media_origin(self._process.studio)

    def watch(self, who: AccountView) -> AbstractContextManager[Changes]:
        """Changes of this account, from the one subscriber of this process."""
        return self._process.live.watch(who.id)


def _principal(who: AccountView) -> Principal:
    """Whoever `who_is` recognised for this event."""
    if not who.signed_in:
        raise NotSignedIn
    return Principal(
        user_id=who.user_id, account_id=who.id, role=Role(who.role), tier=who.tier, email=who.email
    )


def _runs_it(who: AccountView) -> bool:
    """Whether they run this studio: they are told what to do where others are told what to expect."""
    return who.role == Role.ADMIN


def _request(draft: Draft, *, prompt: str) -> GenerationRequest:
    return GenerationRequest(
        prompt=prompt,
        negative_prompt=draft.negative_prompt,
        model=draft.model or None,
        size=draft.size or None,
        seconds=draft.seconds or None,
        seed=_whole_number(draft.seed, "seed"),
        num_inference_steps=_whole_number(draft.steps, "steps"),
        guidance_scale=_number(draft.guidance, "guidance"),
        conditioning=(ConditioningRequest(upload_id=draft.image_id),) if draft.image_id else (),
    )


def _image_of(request: GenerationRequest) -> str:
    return next((image.upload_id for image in request.conditioning), "")


def _in_page_words(message: str) -> str:
    """A use case's message with the API's field names said as the pages label them."""
    for name, words in _FIELD_WORDS.items():
        message = message.replace(name, words)
    return message


def _whole_number(text: str, field: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 12:
        raise Refused(f"{field.capitalize()}: a whole number, or nothing.", field=field)
    return int(text)


def _number(text: str, field: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = nan
    if not isfinite(number) or len(text) > 12:
        raise Refused(f"{field.capitalize()}: a number, or nothing.", field=field)
    return number
