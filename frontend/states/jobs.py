"""Jobs on their way, live: a tab sleeps until its account changed and reads again. The database has the truth."""

# ruff: noqa: RUF012 - Reflex copies a var's default for each session.

import asyncio
from collections.abc import AsyncIterator, Sequence

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import MOST_UNDER_WAY, Refused, Unavailable, gateway
from frontend.states import browser
from frontend.states.session import Session
from frontend.views import AccountView, ClipView, JobView

MOST_ON_WALL = 12
# One of them may be on the stage.
LATEST_CLIPS = MOST_ON_WALL + 1
MOST_FRESH = 6
MOST_BEHIND = 4
# A lost wake-up costs at most this.
READ_AGAIN_AFTER_S = 15.0
COALESCE_S = 0.15
AWAY = "The studio could not read your jobs just now."
# These pages show by themselves that a clip arrived.
_SHOW_ARRIVALS = ("/", "/progress", "/gallery")
# Who decides there about a clip of their own has just been told; and what they look at is covered by no other notice.
_LEFT_IN_PEACE = "/moderation"
NO_JOB = JobView(id="", prompt="", model="", state="", facts="", headline="")


def pick_for_stage(staged: str, jobs: Sequence[JobView], latest: Sequence[ClipView]) -> str:
    """The id of what is shown large: a job at work before one that waits, else the clip that the last one became.

    What is on the stage (`staged`) stays while nothing has a better claim.
    """
    moving = [job for job in jobs if not job.ended and not job.in_review]
    claims = [job.id for job in moving if job.at_work] or [job.id for job in moving]
    if not claims:
        claims = [clip.id for clip in latest if clip.id == staged]
    return staged if staged in claims else next(iter(claims), "")


class Jobs(Session):
    """What is on its way, and the latest clips beside it.

    `fresh`: clips that became ready since this page was opened. `staged`: what the front page shows large.
    `went_wrong`: whether a job ended without a clip since then, so that the page says why.
    """

    jobs: list[JobView] = []
    latest: list[ClipView] = []
    fresh: list[ClipView] = []
    staged: str = ""
    went_wrong: bool = False
    loaded: bool = False
    trouble: str = ""
    stopping: str = ""
    # The clip beside one that was just deleted on its own page, until the gallery has said so.
    _deleted_before: str | None = None
    _arrived: list[ClipView] = []
    _ended: list[JobView] = []
    # By which connection which address was opened: the newest, and the one before until somebody asked.
    _visit: tuple[str, str] = ("", "")
    _visit_before: tuple[str, str] = ("", "")

    @rx.var
    def on_their_way(self) -> list[JobView]:
        """Jobs that the studio works on or will."""
        return [job for job in self.jobs if not job.ended and not job.in_review]

    @rx.var
    def more_wait(self) -> bool:
        """Whether others may wait behind those that are listed."""
        return sum(not job.ended for job in self.jobs) >= MOST_UNDER_WAY

    @rx.var
    def in_review(self) -> list[JobView]:
        """Jobs that a moderator has to decide about."""
        return [job for job in self.jobs if job.in_review and not job.ended]

    @rx.var
    def ended_lately(self) -> list[JobView]:
        """Jobs that ended without a clip, until they are removed."""
        return [job for job in self.jobs if job.ended]

    @rx.var
    def stage_job(self) -> JobView:
        """The job on the stage; an empty one where there is none."""
        return next((job for job in self.jobs if job.id == self.staged and not job.ended), NO_JOB)

    @rx.var
    def stage_clip(self) -> ClipView:
        """The clip that the job on the stage became; an empty one before, or where there is none."""
        if not self.staged or any(job.id == self.staged and not job.ended for job in self.jobs):
            return ClipView()
        return next((clip for clip in self.latest if clip.id == self.staged), ClipView())

    @rx.var
    def behind_stage(self) -> list[JobView]:
        """The other jobs on their way."""
        return [job for job in self.jobs if not job.ended and not job.in_review and job.id != self.staged]

    @rx.var
    def behind_next(self) -> list[JobView]:
        """Those of them that come next. One too many takes the line that would count it."""
        return self.behind_stage[: MOST_BEHIND - 1] if self.behind_more else self.behind_stage

    @rx.var
    def behind_more(self) -> int:
        """How many there are between those and the last one."""
        more = len(self.behind_stage) - MOST_BEHIND
        return more if more > 1 else 0

    @rx.var
    def behind_last(self) -> list[JobView]:
        """The one that was sent last, where it isn't among those that come next: who just sent it looks for it."""
        return self.behind_stage[-1:] if self.behind_more else []

    @rx.var
    def wall(self) -> list[ClipView]:
        """The latest clips, without the one on the stage."""
        return [clip for clip in self.latest if clip.id != self.staged][:MOST_ON_WALL]

    @rx.var
    def wall_is_full(self) -> bool:
        """Whether there may be more clips than these: then it shows whole rows alone."""
        return len(self.wall) == MOST_ON_WALL

    @rx.var
    def can_stop(self) -> bool:
        """Whether the job that the stop dialog asks about can still be stopped."""
        return any(job.id == self.stopping and job.can_cancel for job in self.jobs)

    @rx.var
    def stopping_words(self) -> str:
        """What stopping it now would cost, as it goes on."""
        job = next((job for job in self.jobs if job.id == self.stopping and job.can_cancel), None)
        if job is None:
            return "It is rendered already: there is nothing left to stop."
        return job.stop_cost or "No step is done yet: stopping it now costs nothing."

    @rx.var
    def stopping_steps(self) -> int:
        """The steps that these words speak of: the price of no more is agreed to."""
        return next((job.stop_steps for job in self.jobs if job.id == self.stopping), 0)

    def _note_visit(self) -> None:
        """Whichever of a page's events comes first; the others find it noted."""
        visit = (self.router.session.session_id, f"{self.router.url.path}?{self.router.url.query}")
        if visit != self._visit:
            self._visit_before, self._visit = self._visit, visit

    def _came_back(self) -> bool:
        """Whether this very page was open until now, in this tab: the connection is all that is new. True once."""
        self._note_visit()
        (socket, address), before = self._visit, self._visit_before
        self._visit_before = ("", "")
        return before[1] == address and before[0] != socket

    async def _read(self, who: AccountView, *, anew: bool = False) -> None:
        """Read the account's jobs, and its latest clips where one may have arrived (`anew`: in any case)."""
        jobs = await gateway().jobs(who)
        before = {job.id for job in self.jobs if not job.ended}
        now = {job.id for job in jobs if not job.ended}
        if anew or not self.loaded or before - now or not self.latest:
            self.latest = (await gateway().clips(who, limit=LATEST_CLIPS)).clips
        if self.loaded:
            arrived = [clip for clip in self.latest if clip.id in before - now]
            self.fresh = [*arrived, *self.fresh][:MOST_FRESH]
            self._arrived = [*self._arrived, *arrived]
            ended = [job for job in jobs if job.went_wrong and job.id in before]
            self._ended = [*self._ended, *ended]
            self.went_wrong = self.went_wrong or bool(ended)
        if who.may_moderate:
            self.cases_waiting = await gateway().waiting_cases(who)
        self.jobs = jobs
        self.staged = pick_for_stage(self.staged, jobs, self.latest)
        self.going = sum(not job.in_review for job in jobs if not job.ended)
        self.loaded = True
        self.readings += 1
        self.trouble = ""

    def _news(self) -> list[EventSpec]:
        """What this page does not show by itself: clips that arrived, jobs that ended without one."""
        path = str(self.router.url.path).rstrip("/") or "/"
        if path == _LEFT_IN_PEACE:
            quiet, self._arrived, self._ended = self._arrived, [], []
            return [browser.arrived(clip.prompt, f"/clips/{clip.id}", quiet=True) for clip in quiet]
        news = [
            browser.arrived(
                clip.prompt, f"/clips/{clip.id}", quiet=path in (*_SHOW_ARRIVALS, f"/clips/{clip.id}")
            )
            for clip in self._arrived
        ]
        if path not in _SHOW_ARRIVALS:
            news += [
                browser.toast(f"{job.short}: “{job.prompt[:80]}”", action="Look", href=f"/clips/{job.id}")
                for job in self._ended
                if path != f"/clips/{job.id}"
            ]
        self._arrived, self._ended = [], []
        return news

    @rx.event
    async def load(self) -> EventSpec | None:
        """Read everything anew: on arrival, and when the connection is back."""
        who = await self._who()
        try:
            await self._read(who, anew=True)
        except Unavailable:
            self.trouble = AWAY
        return None

    @rx.event(background=True)
    async def watch(self) -> AsyncIterator[EventSpec]:
        """Follow the account until this page is left; Reflex cancels a page's events when it goes or disconnects."""
        async with self:
            who = await self._who()
            self.fresh, self._arrived, self._ended = [], [], []
            self.went_wrong = False
            self._note_visit()
        anew, credits = True, who.credits
        with gateway().watch(who) as changes:
            while True:
                news: list[EventSpec] = []
                async with self:
                    who = await self._who()
                    try:
                        await self._read(who, anew=anew)
                        anew = False
                        news = self._news()
                    except Unavailable:
                        self.trouble = AWAY
                for notice in news:
                    yield notice
                if who.credits != credits:
                    credits = who.credits
                    yield browser.credits_changed()
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
            return Jobs.cancel(job_id, job.stop_steps)
        self.stopping = job_id
        return browser.open_dialog("stop-job")

    @rx.event
    async def cancel(self, job_id: str, seen_steps: int) -> list[EventSpec] | EventSpec | None:
        """Stop a job, for no more than `seen_steps` cost."""
        who = await self._who()
        try:
            stopped = await gateway().cancel(who, job_id, seen_steps=seen_steps)
        except Refused as refused:
            await self._read(who)
            return [browser.close_dialog("stop-job"), browser.toast(refused.message, tone="bad")]
        await self._read(who)
        said = f"Cancelled. {stopped.charge}".strip()
        return [
            browser.close_dialog("stop-job"),
            browser.toast(said, action="Queue it again", clicks=f'[data-retry="{stopped.id}"]'),
        ]

    @rx.event
    async def retry(self, job_id: str) -> list[EventSpec] | EventSpec | None:
        """Ask for the same again. A second press finds its line gone: one wish, one job."""
        who = await self._who()
        if all(job.id != job_id for job in self.jobs):
            return None
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

    @rx.event
    async def remove_all(self) -> list[EventSpec]:
        """Delete all jobs that ended without a clip, as they are listed."""
        who = await self._who()
        ended = self.ended_lately
        for job in ended:
            await gateway().remove(who, job.id)
        await self._read(who)
        said = "1 job removed." if len(ended) == 1 else f"{len(ended)} jobs removed."
        return [browser.toast(said), browser.focus("#stage")]
