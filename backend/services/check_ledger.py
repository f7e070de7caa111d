"""Prove that ledger, grants, holds and jobs agree; name each disagreement.

Reads in windows of ids, each in one statement and so in one snapshot: what is written meanwhile raises no false alarm.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Row, text
from sqlmodel import col, select

from backend.db.models import LedgerCheck
from backend.db.repositories import ledger
from backend.domain.generation import ENDS, JobState
from backend.studio import Studio

WINDOW = 2_000
MAX_NAMED = 1_000
"""Disagreements are all counted; so many are named."""


class Fault(StrEnum):
    """What can disagree."""

    TRANSACTION_UNBALANCED = "transaction_unbalanced"
    TRANSACTION_MIXED = "transaction_mixed"
    GRANT_REMAINING = "grant_remaining"
    GRANT_ISSUED = "grant_issued"
    GRANT_HELD = "grant_held"
    GRANT_EXPIRED = "grant_expired"
    GRANT_OWED = "grant_owed"
    AVAILABLE_NEGATIVE = "available_negative"
    ENTRY_OF_ANOTHER_ACCOUNT = "entry_of_another_account"
    HOLD_DRAWS = "hold_draws"
    HOLD_ENTRIES = "hold_entries"
    HOLD_ENDED_TWICE = "hold_ended_twice"
    HOLD_WITHOUT_JOB = "hold_without_job"
    HOLD_OUTLIVES_JOB = "hold_outlives_job"
    HOLD_ENDED_EARLY = "hold_ended_early"
    HOLD_QUOTE = "hold_quote"
    JOB_CHARGE = "job_charge"
    JOB_WITHOUT_HOLD = "job_without_hold"


_WORDS = {
    Fault.TRANSACTION_UNBALANCED: "the lines of a transaction add up to {found}, not 0",
    Fault.TRANSACTION_MIXED: "a transaction has lines of {found} accounts",
    Fault.GRANT_REMAINING: "a grant has {found} left, and its entries say {expected}",
    Fault.GRANT_ISSUED: "a grant is of {expected} credits (less what was reversed), and its entries issue {found}",
    Fault.GRANT_HELD: "open holds drew {expected} on a grant, and its entries hold {found}",
    Fault.GRANT_EXPIRED: "a grant lost {found} by expiry, and its entries say {expected}",
    Fault.GRANT_OWED: "a grant owes {found}, and its entries say {expected}",
    Fault.AVAILABLE_NEGATIVE: "what was available of a grant fell to {found}",
    Fault.ENTRY_OF_ANOTHER_ACCOUNT: "{found} entries on a grant or hold are of another account",
    Fault.HOLD_DRAWS: "a hold is of {expected}, and it drew {found}",
    Fault.HOLD_ENTRIES: "a hold's entries should leave {expected} held, and leave {found}",
    Fault.HOLD_ENDED_TWICE: "a hold was ended by {found} transactions",
    Fault.HOLD_WITHOUT_JOB: "a hold is for a job that is not there",
    Fault.HOLD_OUTLIVES_JOB: "a job has ended, and its hold is open",
    Fault.HOLD_ENDED_EARLY: "a job is under way, and its hold has ended",
    Fault.HOLD_QUOTE: "a job was quoted {expected}, and {found} are held for it",
    Fault.JOB_CHARGE: "a job says it was charged {expected}, and its settle entries say {found}",
    Fault.JOB_WITHOUT_HOLD: "a job has no hold",
}


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One thing that two places say differently."""

    fault: Fault
    subject: str
    account_id: str
    expected: int
    found: int

    @property
    def words(self) -> str:
        """In a sentence."""
        return _WORDS[self.fault].format(expected=self.expected, found=self.found)


@dataclass(frozen=True, kw_only=True)
class LedgerReport:
    """What a check read and found. `books`: the sum of each book, together 0."""

    started_at: datetime
    ended_at: datetime
    checked: dict[str, int]
    books: dict[str, int]
    total: int
    named: tuple[Disagreement, ...]

    def to_json(self) -> dict[str, object]:
        """As printed and stored."""
        return {
            "ok": self.total == 0,
            "disagreements": self.total,
            "checked": self.checked,
            "books": self.books,
            "named": [{**asdict(d), "words": d.words} for d in self.named],
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
        }


@dataclass(frozen=True, kw_only=True)
class _Window:
    after: str | int
    last: str | int
    rows: int


_TRANSACTIONS = """
    SELECT transaction_id AS id, min(account_id) AS account_id, sum(amount) AS total,
           count(DISTINCT account_id) AS accounts
    FROM ledger_entries WHERE transaction_id IN (
        SELECT transaction_id FROM ledger_entries WHERE id > :after AND id <= :last)
    GROUP BY transaction_id HAVING sum(amount) <> 0 OR count(DISTINCT account_id) > 1
    """
_BOOKS = (
    "SELECT book, sum(amount) AS total FROM ledger_entries WHERE id > :after AND id <= :last GROUP BY book"
)
_GRANTS = """
    SELECT g.id, g.account_id, g.amount, g.remaining, g.expired, g.reversed, g.owed,
           s.available, s.issued, s.held, s.written_off, s.owing, s.others, coalesce(low.lowest, 0) AS lowest,
           coalesce(h.held, 0) AS drawn
    FROM grants g
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount) FILTER (WHERE book = 'available'), 0) AS available,
               coalesce(sum(amount) FILTER (WHERE book = 'issued'), 0) AS issued,
               coalesce(sum(amount) FILTER (WHERE book = 'held'), 0) AS held,
               coalesce(sum(amount) FILTER (WHERE book = 'expired'), 0) AS written_off,
               coalesce(sum(amount) FILTER (WHERE book = 'owed'), 0) AS owing,
               count(*) FILTER (WHERE e.account_id <> g.account_id) AS others
        FROM ledger_entries e WHERE e.grant_id = g.id) s
    CROSS JOIN LATERAL (
        SELECT min(running) AS lowest FROM (
            SELECT sum(amount) OVER (ORDER BY id) AS running FROM ledger_entries e
            WHERE e.grant_id = g.id AND book = 'available') r) low
    CROSS JOIN LATERAL (
        SELECT sum(d.amount) AS held FROM hold_draws d JOIN holds o ON o.id = d.hold_id
        WHERE d.grant_id = g.id AND o.state = 'open') h
    WHERE g.id > :after AND g.id <= :last
    """
_HOLDS = """
    SELECT h.id, h.account_id, h.amount, h.state, h.charged, j.id AS job_id, j.state AS job_state, j.quoted,
           j.charged AS job_charged, coalesce(d.drawn, 0) AS drawn, s.held, s.spent, s.ends, s.others
    FROM holds h
    LEFT JOIN jobs j ON j.id = h.job_id
    CROSS JOIN LATERAL (SELECT sum(amount) AS drawn FROM hold_draws WHERE hold_id = h.id) d
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount) FILTER (WHERE book = 'held'), 0) AS held,
               coalesce(sum(amount) FILTER (WHERE book = 'spent'), 0) AS spent,
               count(DISTINCT transaction_id) FILTER (WHERE book = 'held' AND amount < 0) AS ends,
               count(*) FILTER (WHERE e.account_id <> h.account_id) AS others
        FROM ledger_entries e WHERE e.hold_id = h.id) s
    WHERE h.id > :after AND h.id <= :last
    """
_JOBS = """
    SELECT j.id, j.account_id, j.quoted FROM jobs j
    WHERE j.id > :after AND j.id <= :last AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.job_id = j.id)
    """


async def check_ledger(studio: Studio, *, window: int = WINDOW) -> LedgerReport:
    """Read everything once. The report is stored too, for `/metrics` and whoever asks later."""
    started_at = await _now(studio)
    checked: Counter[str] = Counter()
    books: Counter[str] = Counter()
    named: dict[tuple[Fault, str], Disagreement] = {}
    total = 0
    for table, statement, judge in (
        ("ledger_entries", _TRANSACTIONS, _transaction_faults),
        ("grants", _GRANTS, _grant_faults),
        ("holds", _HOLDS, _hold_faults),
        ("jobs", _JOBS, _job_faults),
    ):
        async for part in _windows(studio, table, window):
            checked[table] += part.rows
            for row in await _read(studio, statement, part):
                for found in judge(row):
                    key = (found.fault, found.subject)
                    if key not in named:
                        total += 1
                        if len(named) < MAX_NAMED:
                            named[key] = found
            if table == "ledger_entries":
                books.update({row.book: int(row.total) for row in await _read(studio, _BOOKS, part)})
    report = LedgerReport(
        started_at=started_at,
        ended_at=await _now(studio),
        checked=dict(checked),
        books=dict(books),
        total=total,
        named=tuple(named.values()),
    )
    async with studio.db.transaction() as session:
        session.add(
            LedgerCheck(
                started_at=report.started_at,
                ended_at=report.ended_at,
                disagreements=report.total,
                report=report.to_json(),
            )
        )
    return report


async def last_check(studio: Studio) -> LedgerCheck | None:
    """The newest check that ended."""
    async with studio.db.reading() as session:
        return (await session.exec(select(LedgerCheck).order_by(col(LedgerCheck.id).desc()).limit(1))).first()


async def _windows(studio: Studio, table: str, size: int) -> AsyncIterator[_Window]:
    after: str | int = 0 if table == "ledger_entries" else ""
    statement = text(
        f"SELECT max(id) AS last, count(*) AS rows FROM"
        f" (SELECT id FROM {table} WHERE id > :after ORDER BY id LIMIT :size) part"
    )
    while True:
        async with studio.db.reading() as session:
            found = (await session.execute(statement, {"after": after, "size": size})).one()
        if not found.rows:
            return
        yield _Window(after=after, last=found.last, rows=found.rows)
        after = found.last


async def _read(studio: Studio, statement: str, part: _Window) -> "list[Row[tuple[object, ...]]]":
    async with studio.db.reading() as session:
        rows = await session.execute(text(statement), {"after": part.after, "last": part.last})
        return list(rows.all())


async def _now(studio: Studio) -> datetime:
    async with studio.db.reading() as session:
        return await ledger.now_of(session)


def _transaction_faults(row: Row[tuple[object, ...]]) -> Iterator[Disagreement]:
    if row.total != 0:
        yield _fault(Fault.TRANSACTION_UNBALANCED, row, expected=0, found=row.total)
    if row.accounts > 1:
        yield _fault(Fault.TRANSACTION_MIXED, row, expected=1, found=row.accounts)


def _grant_faults(row: Row[tuple[object, ...]]) -> Iterator[Disagreement]:
    for fault, expected, found in (
        (Fault.GRANT_REMAINING, row.available, row.remaining),
        (Fault.GRANT_ISSUED, row.amount - row.reversed, -row.issued),
        (Fault.GRANT_HELD, row.drawn, row.held),
        (Fault.GRANT_EXPIRED, row.written_off, row.expired),
        (Fault.GRANT_OWED, -row.owing, row.owed),
        (Fault.AVAILABLE_NEGATIVE, 0, min(0, row.lowest)),
        (Fault.ENTRY_OF_ANOTHER_ACCOUNT, 0, row.others),
    ):
        if expected != found:
            yield _fault(fault, row, expected=expected, found=found)


def _hold_faults(row: Row[tuple[object, ...]]) -> Iterator[Disagreement]:
    is_open = row.state == "open"
    for fault, expected, found in (
        (Fault.HOLD_DRAWS, row.amount, row.drawn),
        (Fault.HOLD_ENTRIES, row.amount if is_open else 0, row.held),
        (Fault.HOLD_ENDED_TWICE, 0, row.ends if row.ends > 1 else 0),
        (Fault.ENTRY_OF_ANOTHER_ACCOUNT, 0, row.others),
    ):
        if expected != found:
            yield _fault(fault, row, expected=expected, found=found)
    if row.job_id is None:
        yield _fault(Fault.HOLD_WITHOUT_JOB, row, expected=1, found=0)
        return
    if row.quoted != row.amount:
        yield _fault(Fault.HOLD_QUOTE, row, expected=row.quoted, found=row.amount)
    ended = row.job_state in ENDS
    if ended and is_open:
        yield _fault(Fault.HOLD_OUTLIVES_JOB, row, expected=0, found=row.amount)
    if not ended and not is_open:
        yield _fault(Fault.HOLD_ENDED_EARLY, row, expected=row.amount, found=row.charged)
    if not is_open and not (row.charged == row.spent == (row.job_charged or 0)):
        says = row.job_charged if row.job_charged is not None else row.charged
        yield _fault(Fault.JOB_CHARGE, row, expected=says, found=row.spent)
    elif row.job_state == JobState.COMPLETED and row.spent != row.quoted:
        yield _fault(Fault.JOB_CHARGE, row, expected=row.quoted, found=row.spent)


def _job_faults(row: Row[tuple[object, ...]]) -> Iterator[Disagreement]:
    yield _fault(Fault.JOB_WITHOUT_HOLD, row, expected=row.quoted, found=0)


def _fault(fault: Fault, row: Row[tuple[object, ...]], *, expected: int, found: int) -> Disagreement:
    return Disagreement(
        fault=fault,
        subject=row.id,
        account_id=row.account_id,
        expected=int(expected),
        found=int(found),
    )
