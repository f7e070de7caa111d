"""Clients of the studio during a storm: they submit, cancel, delete, watch and peek, over HTTP, and remember what they
were told.
"""

import asyncio
import contextlib
import hashlib
import io
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import numpy as np
from PIL import Image

from backend.ending import end_tasks
from tests.storm.invariants import Asked, Fetched, Rule, Shown, Violation, falls, told_twice

PROMPTS = (
    "a red circle moving right on a white background",
    "a yellow star growing on a white background",
    "a black triangle rising on a yellow background",
    "a large orange square moving left on a white background",
    "a small blue star falling on a white background",
    "a black circle shrinking on a yellow background",
)
PATIENCE_S = 90.0
"""For how long a wish is sent again before its client gives up on an answer."""
REQUEST_S = 15.0
POLL_S = 1.0
PEEK_S = 0.25
MOST_STREAMS = 5
_TRANSIENT = frozenset({500, 502, 503, 504})
_REFUSALS = frozenset({402, 429})


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """An account and its key. `most` jobs of it are under way at once."""

    email: str
    account_id: str
    tier: str
    secret: str
    most: int


@dataclass(kw_only=True)
class Memory:
    """What all clients together asked for and were told."""

    asked: list[Asked] = field(default_factory=list)
    owners: dict[str, Tenant] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    fetched: list[Fetched] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    accept_s: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    peeks: int = 0
    streams: int = 0
    streams_ended: int = 0
    polls: int = 0


class Load:
    """All clients. `run` submits until it is cancelled; `watch` polls, follows and peeks until it is cancelled."""

    def __init__(
        self,
        bases: Sequence[str],
        tenants: Sequence[Tenant],
        *,
        seed: int,
        jobs_per_s: float,
        under_way: Callable[[str], list[str]],
        withheld: Callable[[], list[tuple[str, str]]],
    ) -> None:
        """`under_way`: the jobs of an account that have not ended.

        `withheld`: (job, signed path) of what lies in storage and nobody may see.
        """
        self._bases = list(bases)
        self._tenants = tenants
        self._chance = random.Random(f"load {seed}")
        self._pause_s = len(tenants) / jobs_per_s
        self._under_way = under_way
        self._withheld = withheld
        self._number = 0
        self._following: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(REQUEST_S, connect=3.0),
            limits=httpx.Limits(max_connections=60),
            trust_env=False,
        )
        self.memory = Memory()

    async def run(self) -> None:
        """Submit for ever."""
        async with asyncio.TaskGroup() as group:
            for tenant in self._tenants:
                group.create_task(self._submit_for_ever(tenant))

    async def watch(self) -> None:
        """Look for ever."""
        async with asyncio.TaskGroup() as group:
            for tenant in self._tenants:
                group.create_task(self._poll(tenant))
            group.create_task(self._peek())

    @property
    def asking(self) -> bool:
        """Whether a client still waits for an answer, or follows a job."""
        return bool(self._tasks)

    async def close(self) -> None:
        """End what is left."""
        await end_tasks(*self._tasks, within_s=5)
        await self._http.aclose()

    def tear_form(self) -> None:
        """Send half a submission with an image, and hang up."""
        self._spawn(self._torn_form(self._chance.choice(self._tenants)))

    async def fetch(self, job_id: str, kind: str) -> str | None:
        """The sha256 of what the owner is served, from whichever web process answers; None: nothing."""
        tenant = self.memory.owners[job_id]
        for base in self._bases:
            found = await self._content(base, tenant, job_id, kind)
            if found is not None:
                return found
        return None

    def _base(self) -> str:
        return self._chance.choice(self._bases)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            violation = Violation(rule=Rule.ODD_ANSWER, subject="a client", words=repr(error)[:300])
            self.memory.violations.append(violation)

    async def _submit_for_ever(self, tenant: Tenant) -> None:
        while True:
            await asyncio.sleep(min(self._chance.expovariate(1 / self._pause_s), 4 * self._pause_s))
            if len(self._under_way(tenant.account_id)) < tenant.most:
                self._spawn(self._wish(tenant))

    async def _wish(self, tenant: Tenant) -> None:
        """One clip: asked for until it is answered, then watched, cancelled or deleted as people do."""
        self._number += 1
        asked = Asked(
            number=self._number,
            account_id=tenant.account_id,
            key=f"wish-{self._number}" if self._chance.random() < 0.8 else None,
        )
        self.memory.asked.append(asked)
        fields = {
            "prompt": self._chance.choice(PROMPTS),
            "seed": str(asked.number),
            "num_inference_steps": str(self._steps()),
        }
        image = self._picture() if self._chance.random() < 0.1 else None
        hangs_up = asked.key is not None and self._chance.random() < 0.1
        regrets = self._chance.random()
        follows = self._chance.random() < 0.3
        job_id = await self._ask(tenant, asked, fields, image, hangs_up=hangs_up)
        if job_id is None:
            return
        self.memory.owners[job_id] = tenant
        if follows and len(self._following) < MOST_STREAMS:
            self._spawn(self._follow(tenant, job_id))
        if regrets < 0.16:
            await asyncio.sleep(self._chance.uniform(0, 12))
            await (self._cancel if regrets < 0.08 else self._delete)(tenant, job_id)

    def _steps(self) -> int:
        return self._chance.randint(36, 56) if self._chance.random() < 0.1 else self._chance.randint(6, 24)

    def _picture(self) -> bytes:
        """Noise, no two alike, light enough for the classifier."""
        random_ = np.random.default_rng(self._chance.getrandbits(32))
        pixels = random_.integers(90, 255, (96, 96, 3), dtype=np.uint8)
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, "PNG")
        return target.getvalue()

    async def _ask(
        self,
        tenant: Tenant,
        asked: Asked,
        fields: dict[str, str],
        image: bytes | None,
        *,
        hangs_up: bool,
    ) -> str | None:
        """Send it until it is answered, if it has a key; once, if it has none."""
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            headers = self._headers(tenant) | ({"Idempotency-Key": asked.key} if asked.key else {})
            asked.sent += 1
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._chance.uniform(0.005, 0.08) if hangs_up else REQUEST_S + 5):
                    answer = await self._http.post(
                        f"{self._base()}/v1/videos",
                        data=fields,
                        files={"input_reference": ("image.png", image, "image/png")} if image else None,
                        headers=headers,
                    )
            except (httpx.HTTPError, TimeoutError) as error:
                asked.unread += 1
                self.memory.answers["hung up" if hangs_up else type(error).__name__] += 1
            else:
                self.memory.answers[_label(answer)] += 1
                if answer.status_code == 200:
                    self.memory.accept_s.append(time.monotonic() - began)
                    job_id = str(answer.json()["id"])
                    asked.answered_with.append(job_id)
                    return job_id
                if answer.status_code == 500:
                    self._odd("a submission", answer)
                if answer.status_code in _TRANSIENT:
                    asked.unread += 1
                elif answer.status_code not in _REFUSALS:
                    self._odd("a submission", answer)
                    return None
                elif not asked.unread:
                    asked.refused = _label(answer)
                    return None
            if asked.key is None:
                return None
            hangs_up = False
            await asyncio.sleep(self._chance.uniform(0.2, 1.5))
        return None

    async def _torn_form(self, tenant: Tenant) -> None:
        self._number += 1
        asked = Asked(number=self._number, account_id=tenant.account_id, key=None, sent=1, torn=True)
        self.memory.asked.append(asked)
        request = httpx.Request(
            "POST",
            f"{self._base()}/v1/videos",
            data={"prompt": PROMPTS[0], "seed": str(asked.number)},
            files={"input_reference": ("image.png", self._picture(), "image/png")},
            headers=self._headers(tenant),
        )
        body = request.read()
        head = f"POST /v1/videos HTTP/1.1\r\nHost: {request.url.netloc.decode()}\r\n"
        head += "".join(
            f"{name}: {value}\r\n" for name, value in request.headers.items() if name.lower() != "host"
        )
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(REQUEST_S):
                _, writer = await asyncio.open_connection("127.0.0.1", request.url.port)
                try:
                    writer.write(head.encode() + b"\r\n" + body[: len(body) // 2])
                    await writer.drain()
                finally:
                    writer.close()

    async def _cancel(self, tenant: Tenant, job_id: str) -> None:
        answer = await self._insist("POST", tenant, f"/v1/videos/{job_id}/cancel")
        # An end that came first, or a clip that is being checked, refuses it.
        if answer is None or answer.status_code in {404, 409}:
            return
        if answer.status_code != 200:
            self._odd("a cancel", answer)
        elif answer.json()["state"] == "cancelled":
            self.memory.cancelled.add(job_id)

    async def _delete(self, tenant: Tenant, job_id: str) -> None:
        answer = await self._insist("DELETE", tenant, f"/v1/videos/{job_id}")
        if answer is None:
            return
        # Sent again after an answer that was lost: it is gone.
        if answer.status_code in {200, 404}:
            self.memory.deleted.add(job_id)
        else:
            self._odd("a delete", answer)

    async def _insist(self, method: str, tenant: Tenant, path: str) -> httpx.Response | None:
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            with contextlib.suppress(httpx.HTTPError):
                answer = await self._http.request(method, self._base() + path, headers=self._headers(tenant))
                self.memory.answers[_label(answer)] += 1
                if answer.status_code == 500:
                    self._odd(method, answer)
                if answer.status_code not in _TRANSIENT | _REFUSALS:
                    return answer
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
        return None

    async def _poll(self, tenant: Tenant) -> None:
        """Read the account's list again and again, at either web process, one answer after the other."""
        seen: dict[str, Shown] = {}
        while True:
            await asyncio.sleep(POLL_S)
            try:
                answer = await self._http.get(
                    f"{self._base()}/v1/videos", params={"limit": 50}, headers=self._headers(tenant)
                )
            except httpx.HTTPError:
                continue
            if answer.status_code != 200:
                if answer.status_code == 500 or answer.status_code not in _TRANSIENT | _REFUSALS:
                    self._odd("a list", answer)
                continue
            self.memory.polls += 1
            for video in answer.json()["data"]:
                self._note(seen, video)

    def _note(self, seen: dict[str, Shown], video: dict[str, object]) -> None:
        job_id = str(video["id"])
        now = Shown(
            status=str(video["status"]),
            progress=int(str(video["progress"])),
            steps_done=int(str(video["steps_done"])),
        )
        if job_id in seen:
            self.memory.violations += falls(job_id, seen[job_id], now)
        seen[job_id] = now

    async def _follow(self, tenant: Tenant, job_id: str) -> None:
        """Keep the job's event stream open until its end, over as many connections as it takes."""
        self._following.add(job_id)
        seen: dict[str, Shown] = {}
        try:
            while True:
                told, over = await self._follow_once(tenant, job_id, seen)
                self.memory.violations += told_twice(job_id, told)
                if over:
                    return
                await asyncio.sleep(0.5)
        finally:
            self._following.discard(job_id)

    async def _follow_once(
        self, tenant: Tenant, job_id: str, seen: dict[str, Shown]
    ) -> tuple[list[str], bool]:
        told: list[str] = []
        with contextlib.suppress(httpx.HTTPError):
            async with self._http.stream(
                "GET", f"{self._base()}/v1/videos/{job_id}/events", headers=self._headers(tenant)
            ) as answer:
                if answer.status_code == 404:
                    return told, True
                if answer.status_code != 200:
                    return told, False
                self.memory.streams += 1
                kind = ""
                async for line in answer.aiter_lines():
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    elif line.startswith("data: ") and kind == "gone":
                        return told, "not_found" in line
                    elif line.startswith("data: "):
                        told.append(line)
                        video = json.loads(line.removeprefix("data: "))
                        self._note(seen, video)
                if told and json.loads(told[-1].removeprefix("data: "))["status"] in {"completed", "failed"}:
                    self.memory.streams_ended += 1
                    return told, True
        return told, False

    async def _peek(self) -> None:
        """Try for ever to get at what nobody may see yet: by the owner's key, and by an address that was signed."""
        while True:
            await asyncio.sleep(PEEK_S)
            hidden = self._withheld()
            tenant = self._chance.choice(self._tenants)
            waiting = self._under_way(tenant.account_id)
            with contextlib.suppress(httpx.HTTPError):
                if hidden:
                    job_id, path = self._chance.choice(hidden)
                    self.memory.peeks += 1
                    await self._bytes(self._base() + path, job_id)
                if waiting:
                    self.memory.peeks += 1
                    kind = self._chance.choice(("video", "thumbnail", "spritesheet"))
                    await self._content(self._base(), tenant, self._chance.choice(waiting), kind)

    async def _content(self, base: str, tenant: Tenant, job_id: str, kind: str) -> str | None:
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._http.get(
                f"{base}/v1/videos/{job_id}/content", params={"variant": kind}, headers=self._headers(tenant)
            )
            if answer.status_code == 302:
                return await self._bytes(base + answer.headers["location"], job_id)
        return None

    async def _bytes(self, url: str, job_id: str) -> str | None:
        answer = await self._http.get(url)
        if answer.status_code != 200:
            return None
        sha256 = hashlib.sha256(answer.content).hexdigest()
        self.memory.fetched.append(Fetched(job_id=job_id, sha256=sha256, at=datetime.now(UTC)))
        return sha256

    def _headers(self, tenant: Tenant) -> dict[str, str]:
        return {"Authorization": f"Bearer {tenant.secret}"}

    def _odd(self, what: str, answer: httpx.Response) -> None:
        words = f"{answer.status_code} {answer.text[:200]}"
        self.memory.violations.append(Violation(rule=Rule.ODD_ANSWER, subject=what, words=words))


def _label(answer: httpx.Response) -> str:
    if answer.status_code < 400:
        return str(answer.status_code)
    try:
        return f"{answer.status_code} {answer.json()['error']['code']}"
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
