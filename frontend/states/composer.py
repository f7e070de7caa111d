"""The composer: which model, what it costs, and sending the draft. The draft itself lives in the browser."""

# ruff: noqa: RUF012 - Reflex copies a var's default for each session.

from typing import Any

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import Refused, gateway
from frontend.states import browser
from frontend.states.jobs import Jobs
from frontend.views import Draft, ModelView, QuoteView

_FIELDS = (
    "prompt",
    "model",
    "size",
    "seconds",
    "steps",
    "seed",
    "negative_prompt",
    "image_id",
    "idempotency_key",
)
_SETTINGS = ("prompt", "size", "seconds", "steps", "seed", "negative_prompt")


def _draft(fields: dict[str, Any]) -> Draft:
    return Draft(**{name: str(fields.get(name) or "").strip() for name in _FIELDS})


class Composer(Jobs):
    """What the composer shows beside the words that are typed."""

    models: list[ModelView] = []
    model: ModelView = ModelView()
    quote: QuoteView = QuoteView()
    unknown: str = ""
    error_field: str = ""
    error_words: str = ""
    error_code: str = ""
    error_again_at: str = ""

    def _choose(self, model_id: str) -> None:
        chosen = next((model for model in self.models if model.id == model_id), None)
        if chosen is None and self.models:
            chosen = self.models[0]
        if chosen is not None and chosen != self.model:
            self.model = chosen

    @rx.event
    async def open(self) -> list[EventSpec] | EventSpec | None:
        """Offer the models, then bring back the draft, or the settings of the clip named in the address."""
        who = await self._who()
        self.error_field = self.error_words = ""
        # The clip that was made here last goes to the wall.
        self.staged = ""
        self.models = await gateway().models(who)
        source = self.router.url.query_parameters.get("from", "")
        settings = await gateway().settings_of(who, source) if source else None
        self._choose(settings.model if settings else self.model.id)
        fields = {name: getattr(settings, name) for name in _SETTINGS} if settings else {}
        if self.router.url.query_parameters.get("in", "") == "full":
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
        try:
            self.quote = await gateway().quote(who, draft)
            if self.error_field != "prompt":
                self.error_field = self.error_words = ""
        except Refused as refused:
            self.error_field, self.error_words = refused.field, refused.message
        return None

    @rx.event
    async def read_words(self, fields: dict[str, Any] | None) -> EventSpec | None:
        """Say which words of the prompt the model leaves out, as they are typed."""
        who = await self._who()
        draft = _draft(fields or {})
        self.unknown = await gateway().unknown_words(who, model=draft.model, prompt=draft.prompt)
        if draft.prompt and self.error_field == "prompt":
            self.error_field = self.error_words = ""
        return None

    @rx.event
    async def submit_quicker(self, fields: dict[str, Any] | None) -> list[EventSpec] | EventSpec | None:
        """Send it as the draft that is offered."""
        steps = str(self.quote.quicker_steps or "")
        return await self._send((fields or {}) | ({"steps": steps} if steps else {}))

    @rx.event
    async def submit(self, fields: dict[str, Any]) -> list[EventSpec] | EventSpec | None:
        """Send the draft. What is wrong with it is said beside its field; nothing is charged then."""
        return await self._send(fields)

    async def _send(self, fields: dict[str, Any]) -> list[EventSpec] | EventSpec | None:
        who = await self._who()
        draft = _draft(fields)
        self.error_field = self.error_words = ""
        if not draft.prompt:
            self.error_field, self.error_words = "prompt", "Say what should be seen, and how it moves."
            return browser.focus("#prompt")
        try:
            await gateway().submit(who, draft)
        except Refused as refused:
            self.error_field, self.error_words = refused.field or "form", refused.message
            self.error_code, self.error_again_at = refused.code, refused.again_at
            return browser.focus("#prompt") if refused.field in ("", "prompt") else None
        await self._who()
        await self._read(who)
        # The price is asked for again: what is left may not pay for another.
        return [browser.draft_sent(), browser.with_draft(Composer.requote)]
