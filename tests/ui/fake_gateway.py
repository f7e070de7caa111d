"""A studio in memory behind the pages' gateway: content for screenshots and for tests of the pages alone."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from backend.recipes import mini_world
from frontend.gateway import MOST_UNDER_WAY, NotAllowed, Refused
from frontend.views import (
    AccountView,
    CaseView,
    ChoiceView,
    ClipPage,
    ClipView,
    DoorView,
    Draft,
    JobView,
    KeyView,
    LedgerPage,
    LedgerView,
    ModelView,
    ParamView,
    QuoteView,
    ScoreView,
    SizeView,
    WordGroup,
    WordView,
)
from tests.ui import fake_clips
from tests.ui.fake_clips import FPS, FRAMES, Scene
from tests.ui.fake_money import FakeMoney, dear_quote, receipt_of, refuse

NOW = datetime.now(UTC)
LONG_WAIT_STEPS = "200"
LONG_WAIT = "The wait is long. A draft in 8 steps costs 1 credit and is ready in about 3 min."
SCENES = (
    Scene("red", "circle", "moving right", "blue"),
    Scene("yellow", "star", "growing", "green", 448, 256),
    Scene("white", "triangle", "moving up", "black"),
    Scene("purple", "square", "moving left", "yellow"),
    Scene("orange", "star", "moving down", "white", 256, 448),
    Scene("green", "circle", "shrinking", "red"),
    Scene("blue", "square", "staying still", "orange", 448, 256),
    Scene("black", "triangle", "moving right", "purple"),
    Scene("white", "star", "shrinking", "blue"),
    Scene("red", "square", "moving down", "black", 448, 256),
    Scene("yellow", "circle", "moving up", "purple"),
    Scene("blue", "triangle", "growing", "white"),
    Scene("green", "star", "moving left", "black"),
    Scene("purple", "circle", "moving right", "orange"),
    Scene("orange", "triangle", "growing", "blue", 448, 256),
    Scene("black", "square", "shrinking", "yellow"),
    Scene("white", "circle", "moving left", "red"),
    Scene("red", "star", "growing", "white", 256, 448),
)


def _words(*values: str) -> list[WordView]:
    return [WordView(value=value) for value in values]


_COLOURS = [
    WordView(value=name, colour="#{:02x}{:02x}{:02x}".format(*rgb))
    for name, rgb in fake_clips.COLOURS.items()
]
MINI = ModelView(
    id="mini",
    title="Mini",
    summary="The embedded model.",
    knows="Mini knows one small world: one shape in one colour that moves over a plain background.",
    small=True,
    sentence="a [size] [colour] [shape=shape]|[motion]|on a [background] background",
    words=[
        WordGroup(slot="shape", label="Shape", words=_words("circle", "square", "triangle", "star")),
        WordGroup(slot="colour", label="Colour", words=_COLOURS),
        WordGroup(
            slot="motion",
            label="Motion",
            words=_words(
                "moving right",
                "moving left",
                "moving up",
                "moving down",
                "growing",
                "shrinking",
                "staying still",
            ),
        ),
        WordGroup(slot="background", label="Background", words=_COLOURS),
        WordGroup(slot="size", label="Size", words=_words("small", "large")),
    ],
    examples=[scene.prompt for scene in SCENES[:4]],
    sizes=[
        SizeView(value="256x256", label="256 × 256", frame_w=14, frame_h=14),
        SizeView(value="448x256", label="448 × 256", frame_w=18, frame_h=10),
        SizeView(value="256x448", label="256 × 448", frame_w=10, frame_h=18),
    ],
    lengths=[ChoiceView(value="2", label="2 s"), ChoiceView(value="4", label="4 s")],
    steps_low=4,
    steps_high=400,
    steps_default=16,
    guidance_low="1",
    guidance_high="6",
    guidance_default="1.5",
    takes_image=True,
    takes_negative_prompt=True,
    max_prompt_chars=500,
)
INVITATION = "welcome"


def _somebody(account_id: str, name: str) -> AccountView:
    return AccountView(
        id=account_id,
        email=f"{name}@studio.example",
        tier="Free",
        credits=50,
        credits_label="50",
        signed_in=True,
    )


ACCOUNTS = {
    "creator": AccountView(
        id="acc_1",
        email="ada@studio.example",
        tier="Free",
        credits=482,
        credits_label="482",
        held_credits=6,
        signed_in=True,
    ),
    "moderator": AccountView(
        id="acc_2",
        email="grace@studio.example",
        tier="Pro",
        credits=1200,
        credits_label="1,200",
        role="admin",
        may_moderate=True,
        signed_in=True,
    ),
    "newcomer": AccountView(
        id="acc_3", email="new@studio.example", tier="Free", credits=50, credits_label="50", signed_in=True
    ),
    "passwordless": replace(_somebody("acc_13", "passwordless"), has_password=False),
    "admin": replace(_somebody("acc_14", "admin"), role="admin"),
    "collector": _somebody("acc_6", "collector"),
    "watcher": _somebody("acc_7", "watcher"),
    "reviewed": _somebody("acc_8", "reviewed"),
    "sender": _somebody("acc_10", "sender"),
    "busy": _somebody("acc_11", "busy"),
    "crowded": _somebody("acc_12", "crowded"),
    "unlucky": _somebody("acc_9", "unlucky"),
    "poor": AccountView(
        id="acc_5", email="poor@studio.example", tier="Free", credits=3, credits_label="3", signed_in=True
    ),
    "drafter": AccountView(
        id="acc_4", email="draft@studio.example", tier="Free", credits=50, credits_label="50", signed_in=True
    ),
}


def _ago(**back: float) -> str:
    return (NOW - timedelta(**back)).isoformat()


def make_clip(index: int, scene: Scene) -> ClipView:
    clip_id = f"video_{index:04d}"
    return ClipView(
        id=clip_id,
        prompt=scene.prompt,
        state="completed",
        state_label="Ready",
        shown=True,
        aspect=f"{scene.width} / {scene.height}",
        grow=scene.width / scene.height,
        poster_url=f"/fake/{index}.webp",
        video_url=f"/fake/{index}.mp4?until=1",
        download_url=f"/fake/{index}.mp4",
        seconds="2 s",
        fps=FPS,
        num_frames=FRAMES,
        model="Mini",
        created_at=_ago(minutes=3 + index * 47),
        favourite=index in (1, 4, 8),
        rating=1 if index == 2 else 0,
        settings_url=f"/?from={clip_id}",
        receipt=receipt_of(clip_id, scene.prompt, at=NOW - timedelta(minutes=3 + index * 47)),
        params=[
            ParamView(name="Model", value="Mini", raw="mini"),
            ParamView(
                name="Size",
                value=f"{scene.width} × {scene.height}",
                raw=f"{scene.width}x{scene.height}",
            ),
            ParamView(name="Length", value="2 s, 17 frames at 8 fps"),
            ParamView(name="Seed", value=str(918273645 + index * 7919), mono=True),
            ParamView(name="Steps", value="16", mono=True),
            ParamView(name="Guidance", value="2.0", mono=True),
            *(
                [ParamView(name="First frame", value="The image", picture_url="/uploads/upload_1")]
                if index == 2
                else []
            ),
            ParamView(name="Clip id", value=clip_id, mono=True, long=True),
        ],
    )


def _withheld() -> list[ClipView]:
    base = {"model": "Mini", "seconds": "2 s", "created_at": _ago(hours=2), "aspect": "1 / 1"}
    return [
        ClipView(
            id="video_9001",
            prompt="a white skull on a black background",
            state="in_review",
            state_label="Waits for a moderator",
            state_detail="It shows as soon as they allow it. Nothing is charged before.",
            settings_url="/?from=video_9001",
            **base,
        ),
        ClipView(
            id="video_9002",
            prompt="a red paint splash on a white background",
            state="blocked",
            state_label="Not allowed here",
            state_detail="Gore, torture and cruelty are not shown here. Tension and danger are fine; wounds and "
            "suffering in detail are not. You were not charged.",
            settings_url="/?from=video_9002",
            **base,
        ),
        ClipView(
            id="video_9003",
            prompt="a green star moving up on a yellow background",
            state="cancelled",
            state_label="Cancelled",
            state_detail="You were not charged.",
            settings_url="/?from=video_9003",
            **base,
        ),
        ClipView(
            id="video_9004",
            prompt="a blue square growing on a white background",
            state="failed",
            state_label="Failed",
            state_detail="The workers were lost three times. This is on us. You were not charged.",
            settings_url="/?from=video_9004",
            **base,
        ),
    ]


_REVIEW_JOB = "video_9001"


def _jobs() -> list[JobView]:
    return [
        JobView(
            id="video_5001",
            prompt=SCENES[13].prompt,
            model="Mini",
            state="running",
            facts="Mini, 256 × 256, 2 s",
            headline="Step 118 of 200",
            detail="About 9 s left",
            at_work=True,
            percent=59,
            step=118,
            steps=200,
            created_at=_ago(seconds=80),
            preview_url="/fake/13-noise.webp",
            can_cancel=True,
            stop_cost="118 of 200 steps are done. You pay 4 of 6 credits for them.",
        ),
        JobView(
            id="video_5002",
            prompt=SCENES[6].prompt,
            model="Mini",
            state="queued",
            facts="Mini, 448 × 256, 2 s",
            headline="2nd of 14",
            detail="Ready in about 40 to 70 s",
            aspect="448 / 256",
            grow=1.75,
            created_at=_ago(seconds=50),
            can_cancel=True,
        ),
        JobView(
            id=_REVIEW_JOB,
            prompt="a white skull on a black background",
            model="Mini",
            state="in_review",
            facts="Mini, 256 × 256, 2 s",
            headline="Waits for a moderator",
            detail="It shows as soon as they allow it. Nothing is charged before.",
            in_review=True,
            percent=99,
            step=16,
            steps=16,
            created_at=_ago(minutes=9),
            can_cancel=True,
        ),
        JobView(
            id="video_5003",
            prompt="a green star",
            model="Mini",
            state="failed",
            facts="Mini, 256 × 256, 2 s",
            headline="Failed",
            detail="The workers were lost three times. This is on us.",
            short="Failed, not charged",
            charge="You were not charged.",
            created_at=_ago(minutes=22),
            ended=True,
            went_wrong=True,
            can_retry=True,
        ),
        JobView(
            id="video_9002",
            prompt="a red paint splash on a white background",
            model="Mini",
            state="blocked",
            facts="Mini, 256 × 256, 2 s",
            headline="Not allowed here",
            detail="Gore, torture and cruelty are not shown here.",
            short="Not allowed here: Graphic violence, not charged",
            charge="You were not charged.",
            created_at=_ago(minutes=31),
            ended=True,
            went_wrong=True,
        ),
    ]


def _unfinished(job: JobView) -> ClipView:
    return ClipView(
        id=job.id,
        prompt=job.prompt,
        state=job.state,
        state_label=job.headline,
        state_detail=job.detail,
        under_way=not job.ended,
        aspect=job.aspect,
        grow=job.grow,
        seconds="2 s",
        model=job.model,
        created_at=job.created_at,
        settings_url=f"/?from={job.id}",
        params=[ParamView(name="Steps", value=str(job.steps), mono=True)],
    )


@dataclass
class Desk:
    """What one account has."""

    clips: list[ClipView]
    jobs: list[JobView]
    keys: list[KeyView]


class Watch:
    """What one tab hears: something changed since it last asked, or not."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def next(self, timeout_s: float | None = None) -> object | None:
        try:
            async with asyncio.timeout(timeout_s):
                await self.changed.wait()
        except TimeoutError:
            return None
        self.changed.clear()
        return frozenset()


class FakeGateway(FakeMoney):
    """Everything in memory; `calls` counts what was asked on whose behalf."""

    def __init__(self, *, empty: bool = False) -> None:
        self.desks = {
            "acc_1": Desk(
                [make_clip(i, s) for i, s in enumerate(SCENES)] + _withheld(), _jobs(), self._some_keys()
            ),
            "acc_2": Desk([], [], []),
            "acc_3": Desk([], [], []),
            "acc_4": Desk([], [], []),
            "acc_5": Desk([], [], []),
            "acc_6": Desk(
                [
                    replace(make_clip(i % len(SCENES), SCENES[i % len(SCENES)]), id=f"video_c{i:03d}")
                    for i in range(60)
                ],
                [],
                [],
            ),
            "acc_7": Desk([], [], []),
            "acc_10": Desk([], [], []),
            "acc_13": Desk([], [], []),
            "acc_14": Desk([], [], []),
            "acc_11": Desk([], [replace(_jobs()[1], id=f"video_51{i:02d}") for i in range(18)], []),
            "acc_12": Desk([], [replace(_jobs()[1], id=f"video_52{i:03d}") for i in range(104)], []),
            "acc_8": Desk([], [job for job in _jobs() if job.in_review], []),
            "acc_9": Desk(
                [],
                [replace(job, id=f"{job.id}_{i}") for i in range(3) for job in _jobs() if job.can_retry],
                [],
            ),
        }
        self.review = [
            CaseView(
                id=f"case_{i}",
                subject="Clip",
                reason="Weapons" if i % 2 else "Graphic violence",
                prompt="a white skull on a black background"
                if i % 2 == 0
                else "a black knife on a red background",
                waiting_since=_ago(minutes=4 + 11 * i),
                fps=FPS,
                job_id=f"video_01m7z4f3kdm2ma6jh63wfzc2{i}e",
                model="Mini",
                video_url=f"/fake/{2 + i}.mp4",
                poster_url=f"/fake/{2 + i}.webp",
                scores=[
                    ScoreView(
                        what="Weapons" if i % 2 else "Graphic violence",
                        where="Clip at 1.25 s",
                        at_s="1.250",
                        percent=93,
                        threshold=60,
                        over=True,
                    ),
                    ScoreView(
                        what="Weapons" if i % 2 else "Graphic violence",
                        where="Thumbnail",
                        percent=71,
                        threshold=60,
                        over=True,
                    ),
                ],
            )
            for i in range(5)
        ]
        self.watches: set[Watch] = set()
        self.watches_begun = 0
        self.doors_asked = 0
        self.door_free = asyncio.Event()
        self.door_free.set()
        self.front = DoorView(signup="invitation", place="studio.example")
        self.calls: list[str] = []
        self.decided: dict[str, CaseView] = {}
        self.presses: dict[tuple[str, str, str], JobView] = {}
        self.held: dict[str, int] = {}
        self._ids = itertools.count(6001)
        if empty:
            self.desks = {account_id: Desk([], [], []) for account_id in self.desks}
            self.review = []

    @staticmethod
    def _some_keys() -> list[KeyView]:
        return [
            KeyView(
                id="key_1",
                name="render farm",
                hint="zk_9f3a…",
                scopes="make and read",
                created_at=_ago(days=12),
                last_used_at=_ago(minutes=4),
                expires_at=(NOW + timedelta(days=78)).isoformat(),
            ),
            KeyView(
                id="key_2",
                name="notebook",
                hint="zk_11c0…",
                scopes="read only",
                created_at=_ago(days=40),
                live=False,
                state_label="Revoked",
            ),
        ]

    def _desk(self, who: AccountView) -> Desk:
        assert who.signed_in
        return self.desks[who.id]

    async def who_is(self, cookie: str) -> AccountView:
        for part in cookie.split(";"):
            name, _, value = part.strip().partition("=")
            if name == "zoetrope_session":
                return ACCOUNTS.get(value, AccountView())
        return AccountView()

    async def door(self, *, invitation: str = "") -> DoorView:
        self.doors_asked += 1
        await self.door_free.wait()
        return replace(
            self.front,
            invitation="" if not invitation else "good" if invitation == INVITATION else "ended",
            invited_tier="pro" if invitation == INVITATION else "",
        )

    async def models(self, who: AccountView) -> list[ModelView]:
        self.calls.append("models")
        return [MINI]

    async def unknown_words(self, who: AccountView, *, model: str, prompt: str) -> str:
        self.calls.append("unknown_words")
        unknown = mini_world.read_prompt(prompt).unknown_words
        return f"Mini doesn’t know: {', '.join(unknown)}. It leaves them out." if unknown else ""

    async def quote(self, who: AccountView, draft: Draft) -> QuoteView:
        self.calls.append("quote")
        steps = self._steps(draft)
        if draft.seed and not draft.seed.isdecimal():
            raise Refused("Seed: a whole number, or nothing.", field="seed")
        if (dear := dear_quote(draft)) is not None:
            return dear
        price = max(1, steps // 8)
        left = who.credits - sum(self.held.get(job.id, 0) for job in self._desk(who).jobs if not job.ended)
        return QuoteView(
            known=True,
            credits=price,
            wait=f"ready in about {max(2, steps // 6)} s",
            affordable=price <= left,
            note="" if price <= left else f"This costs {price} credits and you have {left}.",
            quicker=LONG_WAIT if draft.steps == LONG_WAIT_STEPS else "",
            quicker_steps=8 if draft.steps == LONG_WAIT_STEPS else 0,
        )

    @staticmethod
    def _steps(draft: Draft) -> int:
        if not draft.steps:
            return 16
        if not draft.steps.isdecimal() or not 4 <= int(draft.steps) <= 400:
            raise Refused("Steps are a whole number from 4 to 400.", field="steps")
        return int(draft.steps)

    async def submit(self, who: AccountView, draft: Draft) -> JobView:
        self.calls.append("submit")
        refuse(draft)
        if "gore" in draft.prompt:
            raise Refused("Graphic violence is not made here. You were not charged.", field="prompt")
        job = JobView(
            id=f"video_{next(self._ids)}",
            prompt=draft.prompt,
            model="Mini",
            state="queued",
            facts="Mini, 256 × 256, 2 s" + (f", from {draft.image_id}" if draft.image_id else ""),
            headline="Next in line",
            detail="Ready in about 4 s",
            created_at=datetime.now(UTC).isoformat(),
            can_cancel=True,
        )
        self.held[job.id] = (await self.quote(who, draft)).credits
        desk = self._desk(who)
        desk.jobs.insert(sum(not job.ended for job in desk.jobs), job)
        self._tell()
        return job

    async def jobs(self, who: AccountView) -> list[JobView]:
        self.calls.append("jobs")
        jobs = self._desk(who).jobs
        under_way = [job for job in jobs if not job.ended][:MOST_UNDER_WAY]
        return under_way + [job for job in jobs if job.ended]

    async def cancel(self, who: AccountView, job_id: str, *, seen_steps: int | None = None) -> JobView:
        self.calls.append("cancel")
        desk = self._desk(who)
        for at, job in enumerate(desk.jobs):
            if job.id == job_id and job.state == "cancelled":
                return job
            if job.id == job_id and not job.ended:
                desk.jobs[at] = replace(
                    job,
                    state="cancelled",
                    ended=True,
                    short="Cancelled, 4 credits charged" if job.stop_cost else "Cancelled, not charged",
                    can_cancel=False,
                    can_retry=True,
                    headline="Cancelled",
                    detail="",
                    charge=f"You paid for {seen_steps} steps." if job.stop_cost else "You were not charged.",
                )
                return desk.jobs[at]
        raise Refused("That job has ended already.")

    async def retry(self, who: AccountView, job_id: str) -> JobView:
        self.calls.append("retry")
        desk = self._desk(who)
        job = next((job for job in desk.jobs if job.id == job_id), None)
        if job is None:
            raise Refused(f"There is no job {job_id!r}.")
        again = replace(
            job,
            id=f"video_{next(self._ids)}",
            ended=False,
            went_wrong=False,
            can_cancel=True,
            can_retry=False,
            state="queued",
            short="",
            headline="Next in line",
            detail="Ready in about 4 s",
            charge="",
        )
        desk.jobs = [again, *(kept for kept in desk.jobs if kept.id != job_id)]
        return again

    async def vary(self, who: AccountView, clip_id: str, *, press: str) -> JobView:
        self.calls.append("vary")
        desk = self._desk(who)
        clip = next((clip for clip in desk.clips if clip.id == clip_id), None)
        if clip is None:
            raise Refused(f"There is no clip {clip_id!r}.")
        known = self.presses.get((who.id, clip_id, press))
        if known is None:
            known = await self.submit(who, Draft(prompt=clip.prompt, model="mini", size="", seconds=""))
            self.presses[who.id, clip_id, press] = known
        return known

    async def remove(self, who: AccountView, job_id: str) -> None:
        self.calls.append("remove")
        desk = self._desk(who)
        desk.jobs = [job for job in desk.jobs if job.id != job_id]

    async def clips(
        self, who: AccountView, *, search: str = "", show: str = "ready", cursor: str = "", limit: int = 40
    ) -> ClipPage:
        self.calls.append("clips")
        wanted = {
            "ready": lambda clip: clip.shown,
            "favourites": lambda clip: clip.favourite,
            "review": lambda clip: clip.state == "in_review",
            "blocked": lambda clip: clip.state == "blocked",
            "stopped": lambda clip: clip.state in ("failed", "cancelled"),
            "all": lambda clip: True,
        }[show]
        desk = self._desk(who)
        known = {clip.id for clip in desk.clips}
        settled = [_unfinished(job) for job in desk.jobs if job.ended or job.in_review]
        all_ = [clip for clip in settled if clip.id not in known] + desk.clips
        found = [clip for clip in all_ if wanted(clip) and search.lower() in clip.prompt]
        start = int(cursor or 0)
        return ClipPage(
            clips=found[start : start + limit],
            cursor=str(start + limit) if start + limit < len(found) else "",
        )

    async def clip(self, who: AccountView, clip_id: str) -> ClipView | None:
        self.calls.append("clip")
        desk = self._desk(who)
        found = next((clip for clip in desk.clips if clip.id == clip_id), None)
        if found is None:
            job = next((job for job in desk.jobs if job.id == clip_id), None)
            return job and _unfinished(job)
        ready = [clip.id for clip in desk.clips if clip.shown]
        at = ready.index(clip_id) if clip_id in ready else None
        return replace(
            found,
            newer_id=ready[at - 1] if at else "",
            older_id=ready[at + 1] if at is not None and at + 1 < len(ready) else "",
            again_price="2 credits",
        )

    def _change(self, who: AccountView, clip_id: str, **values: object) -> None:
        desk = self._desk(who)
        desk.clips = [replace(clip, **values) if clip.id == clip_id else clip for clip in desk.clips]

    async def set_favourite(self, who: AccountView, clip_id: str, favourite: bool) -> None:
        self.calls.append("set_favourite")
        self._change(who, clip_id, favourite=favourite)

    async def rate(self, who: AccountView, clip_id: str, rating: int) -> None:
        self.calls.append("rate")
        self._change(who, clip_id, rating=rating)

    async def delete_clips(self, who: AccountView, clip_ids: Sequence[str]) -> int:
        self.calls.append("delete_clips")
        desk = self._desk(who)
        kept = [clip for clip in desk.clips if clip.id not in clip_ids]
        gone = len(desk.clips) - len(kept)
        desk.clips = kept
        return gone

    async def settings_of(self, who: AccountView, clip_id: str) -> Draft | None:
        self.calls.append("settings_of")
        clip = await self.clip(who, clip_id)
        return clip and Draft(
            prompt=clip.prompt,
            model="mini",
            size="448x256",
            seconds="2",
            steps="24",
            seed="918273645",
            guidance="2.5",
            image_id={"video_0002": "upload_1", "video_0004": "upload_gone"}.get(clip_id, ""),
        )

    async def ledger(self, who: AccountView, *, cursor: str = "") -> LedgerPage:
        self.calls.append("ledger")
        if who.id == "acc_3":
            return LedgerPage(entries=[])
        rows = [
            LedgerView(
                id=f"e{i}",
                at=_ago(hours=2 * i + 0.1),
                what=what,
                amount=amount,
                balance=str(482 + 2 * i),
                incoming=amount.startswith("+"),
                job_id=f"video_{i:04d}" if "clip" in what else "",
            )
            for i, (what, amount) in enumerate(
                [
                    ("A clip, 16 steps", "−2"),
                    ("A clip, 16 steps", "−2"),
                    ("A clip, cancelled at step 8 of 24", "−1"),
                    ("A clip, 200 steps", "−12"),
                    ("Monthly grant", "+500"),
                ]
            )
        ]
        return LedgerPage(entries=rows, cursor="" if cursor else "more")

    async def keys(self, who: AccountView) -> list[KeyView]:
        self.calls.append("keys")
        return list(self._desk(who).keys)

    async def create_key(
        self, who: AccountView, *, name: str, scopes: Sequence[str], expires_in_days: int | None
    ) -> tuple[KeyView, str]:
        self.calls.append("create_key")
        if not name:
            raise Refused("Give the key a name, so that you know it later.", field="name")
        key = KeyView(
            id=f"key_{next(self._ids)}",
            name=name,
            hint="zk_77b2…",
            scopes="make and read" if "videos:write" in scopes else "read only",
            created_at=datetime.now(UTC).isoformat(),
        )
        self._desk(who).keys.insert(0, key)
        return key, "zk_77b2f0c1e5a94d3bb8d1a6c7e2f4059d"

    async def revoke_key(self, who: AccountView, key_id: str) -> None:
        self.calls.append("revoke_key")
        desk = self._desk(who)
        desk.keys = [
            replace(key, live=False, state_label="Revoked") if key.id == key_id else key for key in desk.keys
        ]

    async def cases(self, who: AccountView) -> list[CaseView]:
        self.calls.append("cases")
        if not who.may_moderate:
            raise NotAllowed
        return [replace(case, video_url="", poster_url="", scores=[]) for case in self.review]

    async def decide(self, who: AccountView, case_id: str, *, allow: bool, note: str) -> None:
        self.calls.append("decide")
        if not who.may_moderate:
            raise NotAllowed
        self.decided |= {case.id: case for case in self.review if case.id == case_id}
        self.review = [case for case in self.review if case.id != case_id]
        if not allow:
            self._end(
                self.decided[case_id].job_id,
                state="blocked",
                headline="Not allowed here",
                short="Not allowed here: Graphic violence, not charged",
            )

    async def waiting_cases(self, who: AccountView) -> int:
        if not who.may_moderate:
            raise NotAllowed
        return len(self.review)

    async def take_case(self, who: AccountView, case_id: str) -> CaseView:
        self.calls.append("take_case")
        if not who.may_moderate:
            raise NotAllowed
        return next(case for case in self.review if case.id == case_id)

    async def undo_decision(self, who: AccountView, case_id: str) -> None:
        self.calls.append("undo_decision")
        if not who.may_moderate:
            raise NotAllowed
        self.review.insert(0, self.decided[case_id])

    @contextmanager
    def watch(self, who: AccountView) -> Iterator["Watch"]:
        watch = Watch()
        self.watches.add(watch)
        self.watches_begun += 1
        try:
            yield watch
        finally:
            self.watches.discard(watch)

    def _tell(self) -> None:
        """Wake every watcher."""
        for watch in self.watches:
            watch.changed.set()

    def make(self, account_id: str) -> str:
        """A program sends a job for this account; its id."""
        job = JobView(
            id=f"video_{next(self._ids)}",
            prompt="a green circle growing on a white background",
            model="Mini",
            state="queued",
            facts="Mini, 256 × 256, 2 s",
            headline="Next in line",
            created_at=datetime.now(UTC).isoformat(),
            can_cancel=True,
        )
        self.desks[account_id].jobs.append(job)
        self._tell()
        return job.id

    def _end(self, job_id: str, **values: object) -> None:
        """A job ends without a clip."""
        ended = {"ended": True, "went_wrong": True, "in_review": False, "at_work": False, "can_cancel": False}
        self._change_job(job_id, **{**ended, "charge": "You were not charged.", **values})

    def _change_job(self, job_id: str, **values: object) -> None:
        for desk in self.desks.values():
            desk.jobs = [replace(job, **values) if job.id == job_id else job for job in desk.jobs]
        self._tell()

    def fail(self, job_id: str) -> None:
        """A job's workers gave up."""
        self._end(job_id, state="failed", headline="Failed", short="Failed, not charged", can_retry=True)

    def hold(self, job_id: str) -> None:
        """A moderator has to decide about a job's clip."""
        self._change_job(
            job_id,
            state="in_review",
            in_review=True,
            at_work=False,
            headline="Waits for a moderator",
            percent=99,
        )
        job = next(job for desk in self.desks.values() for job in desk.jobs if job.id == job_id)
        score = ScoreView(what="Graphic violence", where="Clip", percent=90, threshold=50, over=True)
        case = CaseView(
            id=f"case_of_{job_id}",
            subject="Clip",
            reason="Graphic violence",
            prompt=job.prompt,
            waiting_since=_ago(minutes=1),
            fps=FPS,
            job_id=job_id,
            model="Mini",
            video_url="/fake/2.mp4",
            poster_url="/fake/2.webp",
            scores=[score],
        )
        self.review.append(case)

    def step(self, job_id: str, step: int, steps: int = 16) -> None:
        """A job's worker says how far it is."""
        price = f"{step} of {steps} steps are done. You pay {step // 8} of 2 credits for them."
        self._change_job(
            job_id,
            state="running",
            at_work=True,
            headline=f"Step {step} of {steps}",
            detail="About 2 s left" if step >= 3 else "",
            step=step,
            steps=steps,
            percent=step * 98 // steps,
            preview_url=f"/fake/3-noise.webp?step={step}",
            stop_cost=price if step >= 8 else "",
            stop_steps=step,
        )

    def finish(self, job_id: str) -> None:
        """A job becomes a clip; every watcher is woken."""
        for desk in self.desks.values():
            for job in [job for job in desk.jobs if job.id == job_id]:
                desk.jobs.remove(job)
                made = replace(
                    make_clip(3, SCENES[3]),
                    id=job.id,
                    prompt=job.prompt,
                    created_at=job.created_at,
                    settings_url=f"/?from={job.id}",
                )
                desk.clips.insert(0, made)
        self._tell()
