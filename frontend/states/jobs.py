"""Jobs on their way, live: a tab sleeps until its account changed and reads again. The database has the truth."""

# ruff: noqa: RUF012 - Reflex copies a var's default for each session.

import asyncio

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import Refused, Unavailable, gateway
from frontend.states import browser
from frontend.states.session import Session
from frontend.views import AccountView, ClipView, JobView

LATEST_CLIPS = 12
# A lost wake-up costs at most this.
READ_AGAIN_AFTER_S = 15.0
COALESCE_S = 0.15


class Jobs(Session):
    """What is on its way, and the latest clips beside it."""

    jobs: list[JobView] = []
    latest: list[ClipView] = []
    loaded: bool = False
    trouble: str = ""
    stopping: str = ""
    stopping_words: str = ""

    @rx.var
    def on_their_way(self) -> list[JobView]:
        """Jobs that have not ended."""
        return [job for job in self.jobs if not job.ended]

    @rx.var
    def ended_lately(self) -> list[JobView]:
        """Jobs that ended without a clip, until they are put away."""
        return [job for job in self.jobs if job.ended]

    async def _read(self, who: AccountView) -> None:
        jobs = await gateway().jobs(who)
        before, now = (
            {job.id for job in self.jobs if not job.ended},
            {job.id for job in jobs if not job.ended},
        )
        if not self.loaded or before - now or len(self.latest) < 1:
            self.latest = (await gateway().clips(who, limit=LATEST_CLIPS)).clips
        self.jobs = jobs
        self.going = len(now)
        self.loaded = True
        self.trouble = ""

    @rx.event
    async def load(self) -> EventSpec | None:
        """Read everything anew: on arrival, and when the connection is back."""
        who = await self._who()
        try:
            await self._read(who)
        except Unavailable:
            self.trouble = "The studio could not read your jobs just now."
        return None

    @rx.event(background=True)
    async def watch(self) -> None:
        """Follow the account until this page is left; Reflex cancels a page's events when it goes or disconnects."""
        async with self:
            who = await self._who()
        with gateway().watch(who) as changes:
            while True:
                async with self:
                    who = await self._who()
                    try:
                        await self._read(who)
                    except Unavailable:
                        self.trouble = "The studio could not read your jobs just now."
                await changes.next(READ_AGAIN_AFTER_S)
                # Several changes at once, as when a step ends, are one reading.
                await asyncio.sleep(COALESCE_S)

    @rx.event
    async def ask_to_cancel(self, job_id: str) -> EventSpec | None:
        """Cancel at once what costs nothing; ask first when steps are done already."""
        await self._who()
        job = next((job for job in self.jobs if job.id == job_id), None)
        if job is None:
            return None
        if not job.stop_cost:
            return Jobs.cancel(job_id)
        self.stopping, self.stopping_words = job_id, job.stop_cost
        return browser.open_dialog("stop-job")

    @rx.event
    async def cancel(self, job_id: str) -> list[EventSpec] | EventSpec | None:
        """Stop a job."""
        who = await self._who()
        self.stopping = self.stopping_words = ""
        try:
            stopped = await gateway().cancel(who, job_id)
        except Refused as refused:
            return browser.toast(refused.message, tone="bad")
        await self._read(who)
        said = f"Cancelled. {stopped.charge}".strip()
        return [
            browser.close_dialog("stop-job"),
            browser.toast(said, action="Queue it again", clicks=f'[data-retry="{stopped.id}"]'),
        ]

    @rx.event
    async def retry(self, job_id: str) -> list[EventSpec] | EventSpec | None:
        """Ask for the same again."""
        who = await self._who()
        try:
            await gateway().retry(who, job_id)
        except Refused as refused:
            return browser.toast(refused.message, tone="bad")
        await self._read(who)
        return browser.toast("In the queue again.", tone="good")

    @rx.event
    async def remove(self, job_id: str) -> EventSpec | None:
        """Delete a job that ended without a clip."""
        who = await self._who()
        await gateway().remove(who, job_id)
        await self._read(who)
        return None
