"""The composer: which model, what it costs, and sending the draft. The draft itself lives in the browser."""

# ruff: noqa: RUF012 - Reflex copies a var's default for each session.

from dataclasses import replace
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import Refused, gateway
from frontend.states import browser
from frontend.states.jobs import Jobs
from frontend.views import AccountView, Draft, ModelView, QuoteView

_FIELDS = (
    "prompt",
    "model",
    "size",
    "seconds",
    "steps",
    "seed",
    "guidance",
    "negative_prompt",
    "image_id",
    "idempotency_key",
)
_SETTINGS = ("prompt", "size", "seconds", "steps", "seed", "guidance", "negative_prompt", "image_id")
_CHECKED = ("size", "seconds", "steps", "seed", "guidance", "negative_prompt", "image_id")
# What only sending tells: a quote does not judge them.
_JUDGED = ("prompt", "negative_prompt", "image_id")
_SPENT = ("prompt", "seed", "image_id", "idempotency_key")
_BEHIND_MORE = ("steps", "seed", "guidance", "negative_prompt")


def _draft(fields: dict[str, Any]) -> Draft:
    return Draft(**{name: str(fields.get(name) or "").strip() for name in _FIELDS})


class Composer(Jobs):
    """What the composer shows beside the words that are typed."""

    models: list[ModelView] = []
    model: ModelView = ModelView()
    quote: QuoteView = QuoteView()
    unknown: str = ""
    errors: dict[str, str] = {}
    error_code: str = ""
    error_again_at: str = ""
    _refused: dict[str, tuple[str, str]] = {}

    @rx.var
    def has_errors(self) -> bool:
        """Whether a field would be refused as it stands: then there is no price."""
        return any(field != "form" for field in self.errors)

    def _choose(self, model_id: str) -> None:
        chosen = next((model for model in self.models if model.id == model_id), None)
        if chosen is None and self.models:
            chosen = self.models[0]
        if chosen is not None and chosen != self.model:
            self.model = chosen

    @rx.event
    async def open(self) -> list[EventSpec] | EventSpec | None:
        """Offer the models, then bring back the draft, or the settings of the clip named in the address.

        Where the connection was away only, or the page was read again, all is left: the draft, and what is on
        the stage.
        """
        who = await self._who()
        self.errors, self._refused = {}, {}
        came_back = self._came_back()
        if not came_back:
            # The clip that was made here last goes to the wall.
            self.staged = ""
        self.models = await gateway().models(who)
        source = "" if came_back else self.router.url.query_parameters.get("from", "")
        settings = await gateway().settings_of(who, source) if source else None
        self._choose(settings.model if settings else self.model.id)
        fields = {name: getattr(settings, name) for name in _SETTINGS} if settings else {}
        if settings and self.router.url.query_parameters.get("in", "") == "full":
            # A draft's own picture, in as many steps as the model usually takes.
            fields["steps"] = ""
        return [browser.restore_draft(fields), browser.with_draft(Composer.requote)]

    @rx.event
    async def requote(self, fields: dict[str, Any] | None) -> EventSpec | None:
        """Price and wait of the settings as they stand."""
        who = await self._who()
        draft = _draft(fields or {})
        self._choose(draft.model)
        self.unknown = await gateway().unknown_words(who, model=draft.model, prompt=draft.prompt)
        self.errors = self._still_refused(draft) | await self._check(who, draft)
        return None

    def _still_refused(self, draft: Draft) -> dict[str, str]:
        """What was refused when it was sent, as far as the draft still says the same."""
        return {
            field: words for field, (sent, words) in self._refused.items() if getattr(draft, field) == sent
        }

    async def _check(self, who: AccountView, draft: Draft) -> dict[str, str]:
        """What is wrong with the settings, by field; where nothing is, they have a price now.

        A refusal names one field: it is left out, and the others are asked about again.
        """
        wrong: dict[str, str] = {}
        while True:
            try:
                quote = await gateway().quote(who, draft)
            except Refused as refused:
                wrong[refused.field or "form"] = refused.message
                if not (refused.field in _CHECKED and getattr(draft, refused.field)):
                    return wrong
                draft = replace(draft, **{refused.field: ""})
                continue
            if not wrong:
                self.quote = quote
            return wrong

    @rx.event
    async def read_words(self, fields: dict[str, Any] | None) -> EventSpec | None:
        """Say which words of the prompt the model leaves out, as they are typed."""
        who = await self._who()
        draft = _draft(fields or {})
        self.unknown = await gateway().unknown_words(who, model=draft.model, prompt=draft.prompt)
        others = {field: words for field, words in self.errors.items() if field != "prompt"}
        refused = self._still_refused(draft)
        self.errors = others | {field: words for field, words in refused.items() if field == "prompt"}
        return None

    @rx.event
    async def submit_quicker(self, fields: dict[str, Any] | None) -> list[EventSpec] | EventSpec | None:
        """Send it as the draft that is offered."""
        await self._who()
        steps = str(self.quote.quicker_steps or "")
        return await self._send((fields or {}) | ({"steps": steps} if steps else {}))

    @rx.event
    async def submit(self, fields: dict[str, Any]) -> list[EventSpec] | EventSpec | None:
        """Send the draft. What is wrong with it is said beside its field; nothing is charged then."""
        return await self._send(fields)

    async def _send(self, fields: dict[str, Any]) -> list[EventSpec] | EventSpec | None:
        who = await self._who()
        draft = _draft(fields)
        errors = await self._check(who, draft)
        errors.pop("form", None)
        if not draft.prompt:
            errors["prompt"] = "Nothing was sent: there is no prompt yet."
        if errors:
            return self._refuse(draft, errors)
        try:
            await gateway().submit(who, draft)
        except Refused as refused:
            self.error_code, self.error_again_at = refused.code, refused.again_at
            return self._refuse(draft, {refused.field or "form": refused.message})
        self.errors, self._refused = {}, {}
        await self._who()
        await self._read(who)
        # The price is asked for again: what is left may not pay for another.
        sent = {name: str(fields.get(name) or "") for name in _SPENT}
        return [browser.draft_sent(sent), browser.with_draft(Composer.requote)]

    def _refuse(self, draft: Draft, errors: dict[str, str]) -> EventSpec | None:
        """Say what is wrong with what was sent, until it is changed."""
        self.errors = errors
        self._refused = {
            field: (getattr(draft, field), words) for field, words in errors.items() if field in _JUDGED
        }
        return self._to_the_first()

    def _to_the_first(self) -> EventSpec | None:
        """Move the focus to the first field that is wrong."""
        if "prompt" in self.errors or "form" in self.errors:
            return browser.focus("#prompt")
        return next((browser.focus(f"#{field}") for field in _BEHIND_MORE if field in self.errors), None)
