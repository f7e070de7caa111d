"""A studio on the real database, and a worker that is only messages: for tests of the life of a job."""

import hashlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from sqlmodel import SQLModel

from backend.auth.principal import Principal, Role, Scope
from backend.clock import SystemClock
from backend.contracts import (
    AttemptPhase,
    AttemptStatus,
    CheckpointRef,
    FailureCause,
    Hardware,
    Heartbeat,
    Order,
    Outcome,
    Report,
    ReportedArtifact,
    Wishes,
)
from backend.db.engine import Database
from backend.db.models import Account, Membership, User
from backend.db.repositories import leadership, ledger
from backend.domain.attempt import Slot
from backend.domain.credits import GrantSource
from backend.ids import IdPrefix, new_id
from backend.services.accept_heartbeat import accept_heartbeat
from backend.services.accept_report import accept_report
from backend.services.check_ledger import check_ledger
from backend.services.dispatch_generation import Term, dispatch_generation
from backend.services.generation_request import GenerationRequest
from backend.services.job_view import JobView
from backend.services.moderate_generation import ClipJudge, moderate_generation
from backend.services.publish_generation import publish_generation
from backend.services.submit_generation import submit_generation
from backend.settings import Settings
from backend.storage import open_storage
from backend.studio import Studio
from backend.wakeups import Wakeups, connect
from moderation.verdict import Finding, Ruling, Surface, Verdict
from tests.integration.outside_transactions import WatchedDatabase, outside

_numbers = itertools.count(1)


def open_test_studio(db: Database, valkey_url: str, folder: Path) -> Studio:
    """A studio on this database, with storage in a folder. Neither that nor Valkey is asked inside a transaction."""
    settings = Settings(
        data_dir=folder, database_url=db.url, redis_url=valkey_url, public_url="http://studio.test"
    )
    return Studio(
        settings=settings,
        db=WatchedDatabase(db),
        storage=outside(open_storage(settings), "storage"),
        wakeups=outside(Wakeups(connect(valkey_url), ask_timeout_s=0.01), "wakeups"),
        clock=SystemClock(),
    )


async def empty(db: Database) -> None:
    """A database with tiers and nothing else; much faster than a new one."""
    names = ", ".join(table.name for table in SQLModel.metadata.sorted_tables if table.name != "tiers")
    async with db.transaction() as session:
        await session.execute(text(f"TRUNCATE {names} CASCADE"))


async def make_creator(
    studio: Studio, *, credits: int = 100, tier: str = "pro", role: Role = Role.CREATOR
) -> Principal:
    """A person with an account and credits."""
    user_id, account_id = new_id(IdPrefix.USER), new_id(IdPrefix.ACCOUNT)
    async with studio.db.transaction() as session:
        session.add(User(id=user_id, email=f"creator{next(_numbers)}@example.org", role=role.value))
        session.add(Account(id=account_id, tier=tier))
        await session.flush()
        session.add(Membership(account_id=account_id, user_id=user_id))
        if credits:
            await ledger.add_grant(
                session, account_id=account_id, source=GrantSource.ADMIN, amount=credits, expires_at=None
            )
    return Principal(user_id=user_id, account_id=account_id, role=role, tier=tier, scopes=frozenset(Scope))


async def submit(
    studio: Studio, creator: Principal, prompt: str = "a red circle", **fields: object
) -> JobView:
    """A job of the mini model."""
    return await submit_generation(studio, creator, GenerationRequest(prompt=prompt, **fields))  # type: ignore[arg-type]  # test fields


async def lead(studio: Studio, holder: str = "test") -> Term:
    """A term that the test holds."""
    async with studio.db.transaction() as session:
        await session.execute(text("DELETE FROM leader_terms"))
        number = await leadership.claim(session, name="dispatch", holder=holder)
    assert number is not None
    return Term(name="dispatch", holder=holder, number=number)


@dataclass
class MessageWorker:
    """A worker that renders nothing: it writes bytes where it may, and sends what a worker sends."""

    studio: Studio
    worker_id: str = "w1"
    boot_id: str = "boot1"
    memory_gb: float = 8
    seq: int = 0
    orders: list[Order] = field(default_factory=list)

    async def take(self, job_id: str, *, slot: Slot = Slot.RUN, term: Term | None = None) -> Order:
        """Be given this job."""
        order = await dispatch_generation(
            self.studio, term or await lead(self.studio), job_id=job_id, worker_id=self.worker_id, slot=slot
        )
        assert order is not None
        self.orders.append(order)
        return order

    async def beat(self, *statuses: AttemptStatus) -> Wishes:
        """One heartbeat, taken at once."""
        return await accept_heartbeat(self.studio, self.heartbeat(*statuses))

    def heartbeat(self, *statuses: AttemptStatus) -> Heartbeat:
        """What it says of itself now."""
        self.seq += 1
        return Heartbeat(
            worker_id=self.worker_id,
            boot_id=self.boot_id,
            seq=self.seq,
            version="0",
            hardware=Hardware(hardware_class="test", device="cpu", memory_gb=self.memory_gb),
            recipes=("mini",),
            attempts=statuses,
        )

    async def step(
        self, order: Order, step: int, *, checkpoint: CheckpointRef | None = None, preview: int = 0
    ) -> Wishes:
        """A heartbeat that says how far this order is."""
        return await self.beat(self.status(order, step, checkpoint=checkpoint, preview=preview))

    def status(
        self,
        order: Order,
        step: int,
        *,
        checkpoint: CheckpointRef | None = None,
        preview: int = 0,
        phase: AttemptPhase = AttemptPhase.DENOISING,
        step_s: float | None = None,
    ) -> AttemptStatus:
        """How far this order is."""
        return AttemptStatus(
            attempt_id=order.attempt_id,
            job_id=order.job_id,
            fence=order.fence,
            phase=phase,
            step=step,
            steps=order.spec.num_inference_steps,
            step_s=step_s,
            checkpoint=checkpoint,
            preview_version=preview,
        )

    async def finish(self, order: Order, *, content: bytes = b"clip") -> Report:
        """Write the objects and report that it is done."""
        report = await self.write(order, content=content)
        await accept_report(self.studio, report)
        return report

    async def write(self, order: Order, *, content: bytes = b"clip") -> Report:
        """Write the objects; the report is returned, not sent."""
        artifacts = []
        for kind, signed in (
            ("video", order.objects.clip),
            ("thumbnail", order.objects.thumbnail),
            ("spritesheet", order.objects.spritesheet),
        ):
            data = content + kind.encode()
            await self.studio.storage.put_bytes(signed.key, data)
            artifacts.append(
                ReportedArtifact(
                    kind=kind,
                    key=signed.key,
                    sha256=hashlib.sha256(data).hexdigest(),
                    size_bytes=len(data),
                    content_type="video/mp4" if kind == "video" else "image/webp",
                    width=order.spec.width,
                    height=order.spec.height,
                    num_frames=order.spec.num_frames if kind == "video" else 1,
                )
            )
        return self.report(order, Outcome.DONE, artifacts=tuple(artifacts))

    async def fail(self, order: Order, cause: FailureCause) -> None:
        """Report a failure."""
        await accept_report(self.studio, self.report(order, Outcome.FAILED, cause=cause))

    def report(
        self,
        order: Order,
        outcome: Outcome,
        *,
        cause: FailureCause | None = None,
        artifacts: tuple[ReportedArtifact, ...] = (),
        checkpoint: CheckpointRef | None = None,
    ) -> Report:
        """A report on an order."""
        return Report(
            worker_id=self.worker_id,
            boot_id=self.boot_id,
            attempt_id=order.attempt_id,
            job_id=order.job_id,
            fence=order.fence,
            outcome=outcome,
            cause=cause,
            artifacts=artifacts,
            checkpoint=checkpoint,
            steps_done=order.spec.num_inference_steps if outcome is Outcome.DONE else 0,
        )


def judge(verdict: Verdict, clause: str | None = None) -> ClipJudge:
    """A judge with its mind made up."""
    finding = Finding(
        clause=clause or "graphic_violence", score=0.9, threshold=0.5, verdict=verdict, surface=Surface.VIDEO
    )
    findings = () if verdict is Verdict.ALLOW else (finding,)
    ruling = Ruling(verdict=verdict, findings=findings, policy_version="test", classifier="test")
    return lambda _files: ruling


async def run_to_end(studio: Studio, worker: MessageWorker, job_id: str) -> Order:
    """The whole good way of one job."""
    order = await worker.take(job_id)
    await worker.step(order, 3)
    await worker.finish(order)
    await moderate_generation(studio, job_id, judge(Verdict.ALLOW))
    await publish_generation(studio, job_id)
    return order


async def ledger_is_sound(studio: Studio) -> None:
    """The double entry sums to 0, and agrees with grants, holds and jobs."""
    async with studio.db.reading() as session:
        for name, query in {
            "transaction that does not balance": "SELECT transaction_id FROM ledger_entries"
            " GROUP BY 1 HAVING sum(amount) <> 0",
            "grant that disagrees with its entries": "SELECT g.id FROM grants g WHERE g.remaining <>"
            " (SELECT coalesce(sum(amount), 0) FROM ledger_entries e"
            " WHERE e.grant_id = g.id AND e.book = 'available')",
            "open hold that disagrees with its entries": "SELECT h.id FROM holds h WHERE"
            " CASE WHEN h.state = 'open' THEN h.amount ELSE 0 END <> (SELECT coalesce(sum(amount), 0)"
            " FROM ledger_entries e WHERE e.hold_id = h.id AND e.book = 'held')",
            "charge that disagrees with the ledger": "SELECT j.id FROM jobs j JOIN holds h ON h.job_id = j.id"
            " WHERE coalesce(j.charged, 0) <> h.charged OR (j.state IN"
            " ('completed','failed','blocked','cancelled')) <> (h.state <> 'open')",
        }.items():
            assert (await session.execute(text(query))).all() == [], name
    report = await check_ledger(studio)
    assert report.named == ()
