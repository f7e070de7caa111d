"""The gallery: search, filters, marks, selection, deletion."""

# ruff: noqa: RUF012 - Reflex copies a var's default for each session.

import asyncio
from urllib.parse import urlencode

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import Unavailable, gateway
from frontend.states import browser
from frontend.states.jobs import COALESCE_S, READ_AGAIN_AFTER_S, Jobs
from frontend.views import AccountView, ClipView

SHOWS = ("ready", "favourites", "review", "blocked", "stopped", "all")
MOST_WORDS_CHARS = 200
PAGE = 40
MOST_READ_AT_ONCE = 100
MOST_READ_AGAIN = 400


class Gallery(Jobs):
    """A wall of clips. `selecting`: a tap on one selects it."""

    clips: list[ClipView] = []
    cursor: str = ""
    search: str = ""
    show: str = "ready"
    read: bool = False
    wall_trouble: str = ""
    selected: list[str] = []
    selecting: bool = False
    leaving: list[str] = []

    @rx.var
    def selected_count(self) -> int:
        """How many clips are selected."""
        return len(self.selected)

    @rx.var
    def filtered(self) -> bool:
        """Whether something is hidden by search or filter."""
        return bool(self.search) or self.show != "ready"

    async def _read_wall(self, who: AccountView, *, at_least: int = 0) -> None:
        """Read the wall from its start: a page, or `at_least` so many clips where there are as many."""
        clips: list[ClipView] = []
        cursor = ""
        try:
            while True:
                limit = min(MOST_READ_AT_ONCE, max(PAGE, at_least - len(clips)))
                page = await gateway().clips(
                    who, search=self.search, show=self.show, cursor=cursor, limit=limit
                )
                clips, cursor = [*clips, *page.clips], page.cursor
                if not cursor or len(clips) >= at_least:
                    break
        except Unavailable:
            self.wall_trouble = "The gallery could not be read just now."
            return
        self.clips, self.cursor = clips, cursor
        known = {clip.id for clip in clips}
        self.selected = [clip_id for clip_id in self.selected if clip_id in known]
        self.read, self.wall_trouble = True, ""

    def _address(self) -> EventSpec:
        asked = {"show": self.show if self.show != "ready" else "", "q": self.search}
        query = urlencode({name: value for name, value in asked.items() if value})
        return browser.set_address(f"/gallery?{query}" if query else "/gallery")

    @rx.event
    async def open(self) -> list[EventSpec] | None:
        """Read what the address asks for, searched and filtered: as far as it was read before, or the first page."""
        who = await self._who()
        asked = self.router.url.query_parameters
        show, search = asked.get("show", ""), asked.get("q", "")
        before = (self.show, self.search)
        self.show = show if show in SHOWS else "ready"
        self.search = search.strip()[:MOST_WORDS_CHARS]
        self.selecting = False
        # Who comes back from a clip finds its place.
        kept = len(self.clips) if (self.show, self.search) == before else 0
        await self._read_wall(who, at_least=min(kept, MOST_READ_AGAIN))
        return [browser.set_field("[data-search]", self.search), *self._arrive()]

    def _arrive(self) -> list[EventSpec]:
        """What is said, and where the focus goes, when a clip was deleted on its own page."""
        if self._deleted_before is None:
            return []
        next_id, self._deleted_before = self._deleted_before, None
        return [browser.toast("Deleted."), self._focus_on(next_id)]

    def _focus_on(self, clip_id: str) -> EventSpec:
        """The focus goes to this clip; to the page, when it does not hang there."""
        if any(clip.id == clip_id for clip in self.clips):
            return browser.focus(f"[data-tile='{clip_id}'] [data-tile-link]")
        return browser.focus("#stage")

    def _next_of(self, leaving: list[str]) -> str:
        """The clip that hangs behind the first of these, or before them at the end of the wall."""
        ids = [clip.id for clip in self.clips]
        first = next((at for at, clip_id in enumerate(ids) if clip_id in leaving), len(ids))
        staying = [clip_id for clip_id in ids[first:] if clip_id not in leaving] or ids[:first][-1:]
        return next(iter(staying), "")

    @rx.event(background=True)
    async def follow(self) -> None:
        """Hang up what arrives while the page is open, in front of what hangs there."""
        async with self:
            who = await self._who()
        with gateway().watch(who) as changes:
            while True:
                await changes.next(READ_AGAIN_AFTER_S)
                await asyncio.sleep(COALESCE_S)
                async with self:
                    who = await self._who()
                    await self._hang_up_new(who)

    async def _hang_up_new(self, who: AccountView) -> None:
        if not self.read:
            return
        try:
            newest = (await gateway().clips(who, search=self.search, show=self.show, limit=PAGE)).clips
        except Unavailable:
            return
        hanging = {clip.id for clip in self.clips}
        first = next((at for at, clip in enumerate(newest) if clip.id in hanging), len(newest))
        if new := newest[:first]:
            self.clips = [*new, *self.clips]

    @rx.event
    async def find(self, words: str) -> EventSpec | None:
        """Search in the prompts."""
        who = await self._who()
        self.search = words.strip()[:MOST_WORDS_CHARS]
        await self._read_wall(who)
        return self._address()

    @rx.event
    async def filter_by(self, show: str) -> EventSpec | None:
        """Show another part of the gallery."""
        who = await self._who()
        self.show = show if show in SHOWS else "ready"
        await self._read_wall(who)
        return self._address()

    @rx.event
    async def start_over(self) -> list[EventSpec]:
        """Drop search and filter."""
        who = await self._who()
        self.search, self.show = "", "ready"
        await self._read_wall(who)
        return [self._address(), browser.set_field("[data-search]", "")]

    @rx.event
    async def more(self) -> EventSpec | None:
        """Read the next page."""
        who = await self._who()
        if not self.cursor:
            return None
        page = await gateway().clips(who, search=self.search, show=self.show, cursor=self.cursor)
        known = {clip.id for clip in self.clips}
        new = [clip for clip in page.clips if clip.id not in known]
        self.clips = [*self.clips, *new]
        self.cursor = page.cursor
        # With the last page the button goes, and the focus would with it.
        return self._focus_on(new[0].id) if new and not self.cursor else None

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
    async def toggle_selecting(self) -> EventSpec | None:
        """Select by taps; or stop that, and let all clips go."""
        await self._who()
        if self.selecting:
            self._let_go()
        else:
            self.selecting = True
        return None

    @rx.event
    async def select_none(self) -> EventSpec | None:
        """Let all clips go."""
        await self._who()
        self._let_go()
        return None

    def _let_go(self) -> None:
        self.selected, self.selecting = [], False

    @rx.event
    async def favourite_selected(self) -> EventSpec | None:
        """Mark all selected clips."""
        who = await self._who()
        chosen = list(self.selected)
        for clip_id in chosen:
            await gateway().set_favourite(who, clip_id, True)
        self._let_go()
        await self._read_wall(who, at_least=len(self.clips))
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
        next_id = self._next_of(self.leaving)
        self.selected = [clip_id for clip_id in self.selected if clip_id not in self.leaving]
        self.selecting = self.selecting and bool(self.selected)
        self.leaving = []
        # As far as it was read: a wall that shrinks loses one's place.
        await self._read_wall(who, at_least=len(self.clips) - gone)
        words = "Deleted." if gone == 1 else f"{gone} clips deleted."
        return [browser.close_dialog("delete-clips"), browser.toast(words), self._focus_on(next_id)]
