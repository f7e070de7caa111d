"""The page of one clip."""

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import gateway
from frontend.states import browser
from frontend.states.jobs import Jobs
from frontend.views import AccountView, ClipView


class Clip(Jobs):
    """One clip and its parameters."""

    clip: ClipView = ClipView()
    missing: bool = False

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
        if self.clip.id != self._asked_id():
            self.clip = ClipView()
        await self._reread(who)
        return None

    @rx.event
    async def renew(self) -> EventSpec | None:
        """Fetch fresh URLs: the player says that its own have ended."""
        who = await self._who()
        await self._reread(who)
        return None

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
        return [browser.toast("Deleted."), rx.redirect("/gallery")]
