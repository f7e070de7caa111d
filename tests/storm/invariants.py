"""What must hold whatever happens: pure judgements of what was seen. Each names what broke it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from backend.domain.artifact import GONE, ArtifactState
from backend.domain.attempt import LEASE, LIVE, AttemptState, Cause
from backend.domain.generation import ENDS, ON_WORKER, JobState
from tests.storm.plan import DEAFENING, TERM_S, Kind

GRACE = timedelta(seconds=15)
"""What a job may look `running` for past its lease, with a leader that hears."""
TAKEOVER = timedelta(seconds=5)


class Rule(StrEnum):
    """What can be broken."""

    LOST = "an acknowledged job is gone"
    NOT_ENDED = "a job did not end"
    END_CHANGED = "an end changed"
    WENT_BACK = "a version, a fence or a step went back"
    DOUBLED = "one request made several jobs"
    TORN = "a request that never arrived whole made a job"
    TWO_ANSWERS = "one key was answered with two jobs"
    OVERDUE = "on a worker past lease + 15 s"
    UNHELD = "job and attempts disagree"
    LEADERLESS = "nobody leads"
    HASTY = "buried by a leader that was deaf"
    NOT_RECOVERED = "not back to work in time"
    NOT_SURVIVED = "a running job did not survive an outage"
    LEDGER = "ledger and jobs disagree"
    CHARGE = "not one charge"
    UNSHOWN = "bytes without a verdict"
    NOT_FETCHABLE = "a completed clip can't be fetched as it was judged"
    PROGRESS_FELL = "progress fell"
    TOLD_TWICE = "told twice"
    EFFECT_TWICE = "an effect happened twice"
    UNDONE = "an event was never done"
    ORPHAN = "a file that no row names"
    MISSING = "a row whose file is gone"
    BROKEN_WORD = "what was acknowledged was not done"
    ODD_ANSWER = "an answer that nothing explains"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One rule that one subject broke."""

    rule: Rule
    subject: str
    words: str

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.subject}: {self.words}"


@dataclass(frozen=True, kw_only=True)
class JobSeen:
    """A job's row at one moment."""

    id: str
    account_id: str
    state: str
    version: int
    fence: int
    steps_done: int
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class LiveAttempt:
    """An attempt that has not ended."""

    id: str
    job_id: str
    worker_id: str
    lease_expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One snapshot of the database. `leads`: a term is held now; `renewed_at`: since when, by its lease."""

    at: datetime
    jobs: Mapping[str, JobSeen]
    live: Sequence[LiveAttempt]
    leads: bool
    renewed_at: datetime | None = None
    heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    judged_at: datetime | None = None


def changes(before: Mapping[str, JobSeen], after: Mapping[str, JobSeen]) -> list[Violation]:
    """Between two snapshots no end changes, nothing goes back, and no job disappears."""
    found = []
    for job_id, was in before.items():
        now = after.get(job_id)
        if now is None:
            found.append(Violation(rule=Rule.LOST, subject=job_id, words=f"was {was.state}"))
            continue
        if was.state in ENDS and (now.state, now.ended_at) != (was.state, was.ended_at):
            words = f"from {was.state} to {now.state}"
            found.append(Violation(rule=Rule.END_CHANGED, subject=job_id, words=words))
        for name in ("version", "fence", "steps_done"):
            old, new = getattr(was, name), getattr(now, name)
            if new < old:
                words = f"{name} from {old} to {new}"
                found.append(Violation(rule=Rule.WENT_BACK, subject=job_id, words=words))
    return found


def overdue(sample: Sample, deaf_until: datetime) -> list[Violation]:
    """No attempt lives past its lease + 15 s. A leader that was deaf first hears for one whole lease (rule 10)."""
    found = []
    for attempt in sample.live:
        late = sample.at - max(attempt.lease_expires_at, deaf_until + LEASE)
        if late > GRACE:
            words = f"on {attempt.worker_id} for {late.total_seconds():.1f} s too long"
            found.append(Violation(rule=Rule.OVERDUE, subject=attempt.job_id, words=words))
    return found


def leaderless(sample: Sample, deaf_since: datetime | None, bound: timedelta) -> list[Violation]:
    """Somebody leads, at the latest `bound` after the last thing that could have ended a leader."""
    if sample.leads or deaf_since is None or sample.at - deaf_since <= bound:
        return []
    words = f"{(sample.at - deaf_since).total_seconds():.1f} s after the last fault"
    return [Violation(rule=Rule.LEADERLESS, subject="dispatch", words=words)]


def unheld(sample: Sample) -> list[Violation]:
    """A job is on a worker exactly while one attempt of it lives."""
    found = []
    live = Counter(attempt.job_id for attempt in sample.live)
    for job in sample.jobs.values():
        expected = 1 if job.state in ON_WORKER else 0
        if live[job.id] != expected:
            words = f"{job.state}, with {live[job.id]} live attempts"
            found.append(Violation(rule=Rule.UNHELD, subject=job.id, words=words))
    return found


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A job as its owner sees it."""

    status: str
    progress: int
    steps_done: int


_ORDER = {"queued": 0, "in_progress": 1, "completed": 2, "failed": 2}


def falls(job_id: str, before: Shown, after: Shown) -> list[Violation]:
    """Progress, steps and status never go back, whoever works on it, and an end stays."""
    back = (
        after.progress < before.progress
        or after.steps_done < before.steps_done
        or _ORDER[after.status] < _ORDER[before.status]
        or (before.status in {"completed", "failed"} and after.status != before.status)
    )
    if not back:
        return []
    return [Violation(rule=Rule.PROGRESS_FELL, subject=job_id, words=f"from {before} to {after}")]


def told_twice(job_id: str, told: Sequence[str]) -> list[Violation]:
    """On one connection each event says something new, and nothing comes after the end."""
    found = []
    if any(one == other for one, other in pairwise(told)):
        words = f"the same event twice among {len(told)}"
        found.append(Violation(rule=Rule.TOLD_TWICE, subject=job_id, words=words))
    ends = [number for number, each in enumerate(told) if '"status":"completed"' in each]
    ends += [number for number, each in enumerate(told) if '"status":"failed"' in each]
    if len(ends) > 1 or (ends and ends[0] != len(told) - 1):
        words = f"{len(ends)} ends among {len(told)} events"
        found.append(Violation(rule=Rule.TOLD_TWICE, subject=job_id, words=words))
    return found


@dataclass(kw_only=True)
class Asked:
    """One wish for a clip, as its client remembers it. `number` is its seed: no other wish has it."""

    number: int
    account_id: str
    key: str | None
    sent: int = 0
    unread: int = 0
    refused: str = ""
    torn: bool = False
    answered_with: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A job in the end."""

    id: str
    account_id: str
    seed: int
    state: str
    ended_at: datetime | None
    deleted: bool
    quoted: int
    charged: int | None


def answers(asked: Iterable[Asked], jobs: Sequence[JobRow]) -> list[Violation]:
    """Every acknowledged job is there; one wish is one job, however often it was sent; a torn one is none."""
    found = []
    known = {job.id for job in jobs}
    made: dict[tuple[str, int], list[str]] = defaultdict(list)
    for job in jobs:
        made[job.account_id, job.seed].append(job.id)
    for wish in asked:
        mine = made[wish.account_id, wish.number]
        subject = f"wish {wish.number}"
        if wish.torn and mine:
            found.append(Violation(rule=Rule.TORN, subject=subject, words=", ".join(mine)))
        if len(mine) > 1:
            words = f"{len(mine)} jobs, sent {wish.sent} times"
            found.append(Violation(rule=Rule.DOUBLED, subject=subject, words=words))
        if len(set(wish.answered_with)) > 1:
            words = ", ".join(sorted(set(wish.answered_with)))
            found.append(Violation(rule=Rule.TWO_ANSWERS, subject=subject, words=words))
        found += [
            Violation(rule=Rule.LOST, subject=job_id, words=f"answered to {subject}, and not there")
            for job_id in set(wish.answered_with) - known
        ]
    return found


def ended(jobs: Iterable[JobRow]) -> list[Violation]:
    """Every job there is has ended."""
    return [
        Violation(rule=Rule.NOT_ENDED, subject=job.id, words=f"is {job.state}")
        for job in jobs
        if job.state not in ENDS or job.ended_at is None
    ]


def kept_words(cancelled: Iterable[str], deleted: Iterable[str], jobs: Iterable[JobRow]) -> list[Violation]:
    """A cancel that was answered with the end is the end; what was deleted stays deleted."""
    by_id = {job.id: job for job in jobs}
    found = []
    for job_id in cancelled:
        job = by_id.get(job_id)
        if job is None or job.state != JobState.CANCELLED:
            words = f"cancelled, and now {job.state if job else 'gone'}"
            found.append(Violation(rule=Rule.BROKEN_WORD, subject=job_id, words=words))
    for job_id in deleted:
        job = by_id.get(job_id)
        if job is not None and not job.deleted:
            found.append(Violation(rule=Rule.BROKEN_WORD, subject=job_id, words="deleted, and still there"))
    return found


def charges(jobs: Iterable[JobRow], spent: Mapping[str, Sequence[int]]) -> list[Violation]:
    """A completed job has one charge, its price; others at most one, never above it. `spent`: amounts by job."""
    found = []
    for job in jobs:
        amounts = [amount for amount in spent.get(job.id, ()) if amount]
        fair = amounts == [job.quoted] if job.state == JobState.COMPLETED else len(amounts) <= 1
        if not fair or sum(amounts) != (job.charged or 0) or sum(amounts) > job.quoted:
            words = f"{job.state}, quoted {job.quoted}, says {job.charged}, charged {amounts}"
            found.append(Violation(rule=Rule.CHARGE, subject=job.id, words=words))
    return found


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """An attempt in the end."""

    id: str
    job_id: str
    worker_id: str
    state: str
    cause: str | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Struck:
    """A fault as it happened: when, and whom it hit."""

    kind: Kind
    target: str
    began_at: datetime
    ended_at: datetime

    @property
    def deaf_until(self) -> datetime:
        """From when on a leader can hear again, at the earliest; the beginning for a fault that doesn't deafen."""
        match self.kind:
            case Kind.VALKEY_AWAY | Kind.CONTROLS_AWAY | Kind.KILL_VALKEY:
                return self.ended_at
            case Kind.KILL_LEADER | Kind.STOP_LEADER:
                # Its term was renewed at most a second before.
                return self.began_at + timedelta(seconds=TERM_S - 1)
            case _:
                return self.began_at


_JITTER = timedelta(seconds=1)
_BURIALS = frozenset({Cause.LEASE_EXPIRED.value, Cause.NOT_TAKEN.value})


def hasty(attempts: Iterable[AttemptRow], struck: Iterable[Struck]) -> list[Violation]:
    """Nobody is declared dead before a leader heard for one whole lease."""
    deaf = [each for each in struck if each.deaf_until > each.began_at]
    found = []
    for attempt in attempts:
        if attempt.cause not in _BURIALS or attempt.ended_at is None:
            continue
        for each in deaf:
            if each.began_at + _JITTER < attempt.ended_at < each.deaf_until + LEASE - _JITTER:
                words = f"{attempt.cause} during {each.kind}, on {attempt.worker_id}"
                found.append(Violation(rule=Rule.HASTY, subject=attempt.id, words=words))
    return found


def survival(
    attempts: Iterable[AttemptRow], live: Iterable[str], outage: Struck, struck: Iterable[Struck]
) -> list[Violation]:
    """What ran when Valkey or control went away for longer than a lease is not lost by that. `live`: who ran then."""
    around = LEASE + timedelta(seconds=5)
    hurt = {
        each.target
        for each in struck
        if each.began_at < outage.ended_at + around and each.ended_at > outage.began_at - around
    }
    running = set(live)
    return [
        Violation(rule=Rule.NOT_SURVIVED, subject=attempt.id, words=f"{attempt.cause} on {attempt.worker_id}")
        for attempt in attempts
        if attempt.id in running
        and attempt.state == AttemptState.LOST
        and attempt.worker_id not in hurt
        and attempt.ended_at is not None
        and attempt.ended_at < outage.ended_at + around
    ]


def deaf_until(struck: Iterable[Struck], start: datetime) -> datetime:
    """Up to when a leader may have been deaf: the last deafening fault, and the time a standby takes."""
    ends = [each.ended_at for each in struck if each.kind in DEAFENING]
    return max([start, *ends]) + TAKEOVER


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Bytes that somebody was given."""

    job_id: str
    sha256: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class ArtifactRow:
    """An artifact in the end. `allowed_at`: when a verdict allowed exactly these bytes."""

    job_id: str
    kind: str
    key: str
    sha256: str
    state: str
    released_at: datetime | None
    allowed_at: datetime | None


def unshown(fetched: Iterable[Fetched], artifacts: Iterable[ArtifactRow]) -> list[Violation]:
    """Bytes were given only after a verdict on exactly them, and after their release."""
    known = {(row.job_id, row.sha256): row for row in artifacts}
    found = []
    for each in fetched:
        row = known.get((each.job_id, each.sha256))
        if row is None:
            words = "bytes that no row names"
        elif row.allowed_at is None or row.allowed_at > each.at:
            words = f"{row.kind} before its verdict"
        elif row.released_at is None or row.released_at > each.at:
            words = f"{row.kind} before its release"
        else:
            continue
        found.append(Violation(rule=Rule.UNSHOWN, subject=each.job_id, words=words))
    return found


def fetchable(
    jobs: Iterable[JobRow], artifacts: Iterable[ArtifactRow], served: Mapping[tuple[str, str], str]
) -> list[Violation]:
    """Each completed clip that is kept is served, with the very bytes of its row. `served`: sha256 by (job, kind)."""
    rows: dict[str, list[ArtifactRow]] = defaultdict(list)
    for row in artifacts:
        rows[row.job_id].append(row)
    found = []
    for job in jobs:
        if job.state != JobState.COMPLETED or job.deleted:
            continue
        if {row.kind for row in rows[job.id]} != {"video", "thumbnail", "spritesheet"}:
            words = f"has {sorted(row.kind for row in rows[job.id])}"
            found.append(Violation(rule=Rule.NOT_FETCHABLE, subject=job.id, words=words))
        for row in rows[job.id]:
            got = served.get((job.id, row.kind))
            if row.state != ArtifactState.RELEASED or got != row.sha256:
                words = f"{row.kind} is {row.state}, served {'other bytes' if got else 'nothing'}"
                found.append(Violation(rule=Rule.NOT_FETCHABLE, subject=job.id, words=words))
    return found


def once(what: str, counts: Mapping[str, int]) -> list[Violation]:
    """An effect that happens once for each subject."""
    return [
        Violation(rule=Rule.EFFECT_TWICE, subject=subject, words=f"{count} times {what}")
        for subject, count in counts.items()
        if count > 1
    ]


def files(
    keys: Iterable[str], artifacts: Iterable[ArtifactRow], uploads: Mapping[str, str]
) -> list[Violation]:
    """After the sweep: every file has its row, every row its file. `uploads`: state by key."""
    there = set(keys)
    named = {row.key for row in artifacts if row.state not in GONE}
    stored = {key for key, state in uploads.items() if state == "stored"}
    found = [
        Violation(rule=Rule.ORPHAN, subject=key, words="lies there for nobody")
        for key in sorted(there - named - stored)
    ]
    found += [
        Violation(rule=Rule.MISSING, subject=key, words="is in no file")
        for key in sorted((named | stored) - there)
    ]
    return found


def undone(events: Iterable[tuple[str, str, int]]) -> list[Violation]:
    """What is still to be done after all has ended: (consumer, subject, tries)."""
    return [
        Violation(rule=Rule.UNDONE, subject=subject, words=f"{consumer}, tried {tries} times")
        for consumer, subject, tries in events
    ]


def still_live(attempts: Iterable[AttemptRow]) -> list[Violation]:
    """After all jobs have ended no attempt lives."""
    return [
        Violation(rule=Rule.UNHELD, subject=attempt.job_id, words=f"attempt {attempt.id} is {attempt.state}")
        for attempt in attempts
        if attempt.state in LIVE
    ]
