"""The gallery: search, filters, marks, selection, deletion."""

# ruff: noqa: RUF012 - Reflex copies a var's default for each session.

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import Unavailable, gateway
from frontend.states import browser
from frontend.states.jobs import Jobs
from frontend.views import AccountView, ClipView

SHOWS = ("ready", "favourites", "review", "stopped", "all")


class Gallery(Jobs):
    """A wall of clips."""

    clips: list[ClipView] = []
    cursor: str = ""
    search: str = ""
    show: str = "ready"
    read: bool = False
    wall_trouble: str = ""
    loading_more: bool = False
    selected: list[str] = []
    leaving: list[str] = []

    @rx.var
    def selected_count(self) -> int:
        """How many clips are selected."""
        return len(self.selected)

    @rx.var
    def filtered(self) -> bool:
        """Whether something is hidden by search or filter."""
        return bool(self.search) or self.show != "ready"

    @rx.var
    def has_news(self) -> bool:
        """Whether clips were finished that the wall does not show yet."""
        if not self.read or self.search or self.show != "ready":
            return False
        hanging = {clip.id for clip in self.clips}
        newest = max((clip.created_at for clip in self.clips), default="")
        return any(clip.id not in hanging and clip.created_at > newest for clip in self.latest)

    async def _first_page(self, who: AccountView) -> None:
        try:
            page = await gateway().clips(who, search=self.search, show=self.show)
        except Unavailable:
            self.wall_trouble = "The gallery could not be read just now."
            return
        self.clips, self.cursor = page.clips, page.cursor
        known = {clip.id for clip in page.clips}
        self.selected = [clip_id for clip_id in self.selected if clip_id in known]
        self.read, self.wall_trouble = True, ""

    @rx.event
    async def open(self) -> EventSpec | None:
        """Read the first page, as it was searched and filtered."""
        who = await self._who()
        await self._first_page(who)
        return None

    @rx.event
    async def find(self, words: str) -> EventSpec | None:
        """Search in the prompts."""
        who = await self._who()
        self.search = words.strip()[:200]
        await self._first_page(who)
        return None

    @rx.event
    async def filter_by(self, show: str) -> EventSpec | None:
        """Show another part of the gallery."""
        who = await self._who()
        self.show = show if show in SHOWS else "ready"
        await self._first_page(who)
        return None

    @rx.event
    async def start_over(self) -> EventSpec | None:
        """Drop search and filter."""
        who = await self._who()
        self.search, self.show = "", "ready"
        await self._first_page(who)
        return None

    @rx.event
    async def more(self) -> EventSpec | None:
        """Read the next page."""
        who = await self._who()
        if not self.cursor:
            return None
        page = await gateway().clips(who, search=self.search, show=self.show, cursor=self.cursor)
        known = {clip.id for clip in self.clips}
        self.clips = [*self.clips, *(clip for clip in page.clips if clip.id not in known)]
        self.cursor = page.cursor
        return None

    @rx.event
    async def favourite(self, clip_id: str, wanted: bool) -> EventSpec | None:
        """Mark or unmark a clip."""
        who = await self._who()
        await gateway().set_favourite(who, clip_id, wanted)
        await self._reread(who, clip_id)
        return None

    @rx.event
    async def rate(self, clip_id: str, rating: int) -> EventSpec | None:
        """Thumbs up, down, or neither."""
        who = await self._who()
        await gateway().rate(who, clip_id, max(-1, min(1, rating)))
        await self._reread(who, clip_id)
        return None

    async def _reread(self, who: AccountView, clip_id: str) -> None:
        fresh = await gateway().clip(who, clip_id)
        self.clips = [fresh if fresh and clip.id == clip_id else clip for clip in self.clips]

    @rx.event
    async def select(self, clip_id: str) -> EventSpec | None:
        """Select a clip, or let it go."""
        await self._who()
        if clip_id in self.selected:
            self.selected = [kept for kept in self.selected if kept != clip_id]
        elif any(clip.id == clip_id for clip in self.clips):
            self.selected = [*self.selected, clip_id]
        return None

    @rx.event
    async def select_none(self) -> EventSpec | None:
        """Let all clips go."""
        await self._who()
        self.selected = []
        return None

    @rx.event
    async def favourite_selected(self) -> EventSpec | None:
        """Mark all selected clips."""
        who = await self._who()
        chosen = list(self.selected)
        for clip_id in chosen:
            await gateway().set_favourite(who, clip_id, True)
        self.selected = []
        await self._first_page(who)
        return browser.toast(
            f"{len(chosen)} marked as favourites." if len(chosen) > 1 else "Marked as a favourite."
        )

    @rx.event
    async def ask_to_delete(self, clip_id: str) -> EventSpec | None:
        """Ask before deleting: one clip, or with an empty id the selected ones."""
        await self._who()
        self.leaving = [clip_id] if clip_id else list(self.selected)
        return browser.open_dialog("delete-clips") if self.leaving else None

    @rx.event
    async def delete(self) -> list[EventSpec] | EventSpec | None:
        """Delete what was asked about."""
        who = await self._who()
        gone = await gateway().delete_clips(who, self.leaving)
        self.selected = [clip_id for clip_id in self.selected if clip_id not in self.leaving]
        self.leaving = []
        await self._first_page(who)
        words = "Deleted." if gone == 1 else f"{gone} clips deleted."
        return [browser.close_dialog("delete-clips"), browser.toast(words)]
