"""The page of one clip: played when it is ready, followed while it is made."""

import asyncio

import reflex as rx
from reflex.event import EventSpec

from backend.ids import IdPrefix, new_id
from frontend.gateway import Refused, Unavailable, gateway
from frontend.states import browser
from frontend.states.jobs import COALESCE_S, NO_JOB, READ_AGAIN_AFTER_S, Jobs
from frontend.views import AccountView, ClipView, JobView


class Clip(Jobs):
    """One clip and its parameters."""

    clip: ClipView = ClipView()
    missing: bool = False
    _press: str = ""

    @rx.var
    def job(self) -> JobView:
        """The job that makes this clip, while it does; an empty one otherwise."""
        return next((job for job in self.jobs if job.id == self.clip.id and not job.ended), NO_JOB)

    @rx.var
    def tab_title(self) -> str:
        """What the browser's tab says."""
        return f"{self.clip.prompt[:80]} · Zoetrope" if self.clip.prompt else "Clip · Zoetrope"

    def _asked_id(self) -> str:
        return str(self.router.url.path).rstrip("/").rpartition("/")[2]

    async def _reread(self, who: AccountView) -> None:
        found = await gateway().clip(who, self._asked_id())
        self.missing = found is None
        if found is not None:
            self.clip = found

    @rx.event
    async def open(self) -> EventSpec | None:
        """Read the clip named in the address."""
        who = await self._who()
        self._press = new_id(IdPrefix.REQUEST)
        if self.clip.id != self._asked_id():
            self.clip = ClipView()
        await self._reread(who)
        if self.clip.under_way and not self.loaded:
            # Together, so that what is seen of it has its place from the first.
            await self._read(who)
        return None

    @rx.event(background=True)
    async def follow(self) -> None:
        """Read the clip again whenever something changed, until it is ready or has ended otherwise."""
        async with self:
            who = await self._who()
        with gateway().watch(who) as changes:
            while True:
                await changes.next(READ_AGAIN_AFTER_S)
                await asyncio.sleep(COALESCE_S)
                async with self:
                    who = await self._who()
                    if not self.clip.under_way:
                        continue
                    try:
                        await self._reread(who)
                    except Unavailable:
                        continue

    @rx.event
    async def renew(self) -> EventSpec | None:
        """Fetch fresh URLs: the player says that its own have ended."""
        who = await self._who()
        await self._reread(who)
        return None

    @rx.event
    async def vary(self) -> list[EventSpec] | EventSpec | None:
        """The same with another seed; its page shows it being made."""
        who = await self._who()
        try:
            sent = await gateway().vary(who, self.clip.id, press=self._press)
        except Refused as refused:
            return browser.toast(refused.message, tone="bad")
        await self._read(who)
        return rx.redirect(f"/clips/{sent.id}")

    @rx.event
    async def favourite(self) -> EventSpec | None:
        """Mark or unmark this clip."""
        who = await self._who()
        await gateway().set_favourite(who, self.clip.id, not self.clip.favourite)
        await self._reread(who)
        return None

    @rx.event
    async def rate(self, rating: int) -> EventSpec | None:
        """Thumbs up or down; the same again takes it back."""
        who = await self._who()
        await gateway().rate(who, self.clip.id, 0 if rating == self.clip.rating else max(-1, min(1, rating)))
        await self._reread(who)
        return None

    @rx.event
    async def delete(self) -> list[EventSpec] | EventSpec | None:
        """Delete this clip for good."""
        who = await self._who()
        await gateway().delete_clips(who, [self.clip.id])
        self._deleted_before = self.clip.older_id or self.clip.newer_id
        return rx.redirect("/gallery")
