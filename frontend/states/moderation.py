"""The moderators' plain room: a queue of cases, the evidence, a decision. The role is checked on every event."""

# ruff: noqa: RUF012 - Reflex copies a var's default for each session.

import asyncio
import itertools
from typing import Any, Literal

import reflex as rx
from reflex.event import EventSpec

from backend.domain.review import UNDO
from frontend.gateway import Refused, Unavailable, gateway
from frontend.states import browser
from frontend.states.jobs import Jobs
from frontend.views import AccountView, CaseView

MOST_NOTE_CHARS = 2000
LOOK_AGAIN_S = 10.0
# A claim lasts five minutes.
RENEW_CLAIM_EVERY = 6
_DECISION = "decision"


class Moderation(Jobs):
    """Open cases, and the one on the table: blurred until `revealed`, then in its colours unless `grey`."""

    cases: list[CaseView] = []
    case: CaseView = CaseView()
    revealed: bool = False
    grey: bool = False
    read: bool = False
    queue_trouble: str = ""
    decided: int = 0
    _last_allowed: str = ""
    _last_decided: str = ""

    async def _read_cases(self, who: AccountView, keep: str = "") -> None:
        try:
            self.cases = await gateway().cases(who)
        except Unavailable:
            self.queue_trouble = "The queue could not be read just now."
            return
        self.cases_waiting = len(self.cases)
        self.read, self.queue_trouble = True, ""
        known = [case.id for case in self.cases]
        # The wanted one first, then the others by age: the first that no other moderator has is ours.
        start = known.index(keep) if keep in known else 0
        for case_id in (*known[start:], *known[:start]):
            try:
                taken = await gateway().take_case(who, case_id)
            except Refused:
                continue
            if taken.id != self.case.id:
                self.revealed = False
            self.case = taken
            return
        self.case = CaseView()

    @rx.event
    async def open(self) -> EventSpec | None:
        """Read the queue and lay its oldest case on the table, blurred."""
        who = await self._moderator()
        self.revealed = False
        await self._read_cases(who, keep=self.case.id)
        return None

    @rx.event(background=True)
    async def follow(self) -> None:
        """Notice new cases while the page is open, and keep the claim on the one on the table."""
        async with self:
            await self._moderator()
        for tick in itertools.count(1):
            await asyncio.sleep(LOOK_AGAIN_S)
            async with self:
                who = await self._moderator()
                try:
                    if not self.case.id:
                        await self._read_cases(who)
                        continue
                    self.cases = await gateway().cases(who)
                    if tick % RENEW_CLAIM_EVERY == 0:
                        self.case = await gateway().take_case(who, self.case.id)
                except (Unavailable, Refused):
                    continue

    @rx.event
    async def take(self, case_id: str) -> EventSpec | None:
        """Lay another case on the table."""
        who = await self._moderator()
        await self._read_cases(who, keep=case_id)
        return None

    @rx.event
    async def reveal(self) -> EventSpec | None:
        """Show the evidence sharp, or blur it again."""
        await self._moderator()
        self.revealed = not self.revealed
        return None

    @rx.event
    async def toggle_grey(self) -> EventSpec | None:
        """Show the evidence without its colours, or with them."""
        await self._moderator()
        self.grey = not self.grey
        return None

    @rx.event
    async def skip(self) -> EventSpec | None:
        """Leave this case for later and take the next."""
        who = await self._moderator()
        ids = [case.id for case in self.cases]
        after = ids[(ids.index(self.case.id) + 1) % len(ids)] if self.case.id in ids else ""
        await self._read_cases(who, keep=after)
        return None

    @rx.event
    async def allow(self, fields: dict[str, Any] | None = None) -> list[EventSpec] | EventSpec | None:
        """Let the case with the id in `fields` through, with their note; the next one follows by itself."""
        return await self._decide(allow=True, fields=fields)

    @rx.event
    async def block(self, fields: dict[str, Any] | None = None) -> list[EventSpec] | EventSpec | None:
        """Block the case with the id in `fields`, with their note; the next one follows by itself."""
        return await self._decide(allow=False, fields=fields)

    @rx.event
    async def undo(self) -> EventSpec | None:
        """Take the last allow back within its minute; its case lies on the table again."""
        who = await self._moderator()
        if not self._last_allowed:
            return _say(
                "A block took effect at once: it can't be undone."
                if self._last_decided
                else "There is no allow to undo."
            )
        case_id, self._last_allowed, self._last_decided = self._last_allowed, "", ""
        try:
            await gateway().undo_decision(who, case_id)
        except Refused as refused:
            return _say(refused.message, tone="bad")
        self.decided = max(0, self.decided - 1)
        await self._read_cases(who, keep=case_id)
        return _say("Undone. It lies on the table again.")

    async def _decide(
        self, *, allow: bool, fields: dict[str, Any] | None
    ) -> list[EventSpec] | EventSpec | None:
        who = await self._moderator()
        on_screen = str((fields or {}).get("case_id") or "")
        if not self.case.id:
            return None
        if on_screen != self.case.id:
            if on_screen == self._last_decided:
                # A double click's second half: it was meant for that case too, not for the next one.
                return None
            return _say("That case is no longer on the table. Nothing was decided.", tone="bad")
        note = str((fields or {}).get("note") or "").strip()[:MOST_NOTE_CHARS]
        try:
            await gateway().decide(who, on_screen, allow=allow, note=note)
        except Refused as refused:
            await self._read_cases(who)
            return _say(refused.message, tone="bad")
        self.decided += 1
        self._last_allowed = on_screen if allow else ""
        self._last_decided = on_screen
        self.revealed = False
        await self._read_cases(who)
        return [
            browser.clear_form("#decision"),
            browser.toast(
                f"Allowed. Takes effect in {UNDO.seconds} s.",
                action="Undo",
                clicks="[data-page-verb='undo']",
                stay_s=UNDO.seconds,
                instead_of=_DECISION,
            )
            if allow
            else _say("Blocked. Its owner is not charged."),
        ]


def _say(words: str, *, tone: Literal["plain", "bad"] = "plain") -> EventSpec:
    """Only the last decision is spoken of: what was said of the one before goes."""
    return browser.toast(words, tone=tone, instead_of=_DECISION)
