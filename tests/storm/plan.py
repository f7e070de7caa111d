"""What goes wrong, when, and for how long: made from a seed alone, so that the same seed is the same storm."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

WEBS = ("web-1", "web-2")
CONTROLS = ("control-1", "control-2")
FAKE_WORKERS = ("fake-1", "fake-2", "fake-3")
MINI_WORKER = "mini-1"
WORKERS = (*FAKE_WORKERS, MINI_WORKER)
MODERATORS = ("moderator-1",)
WITH_CLOCK = (*WEBS, *CONTROLS, *MODERATORS)

LEASE_S = 10.0
"""Of an attempt, as `backend.domain.attempt` has it; a test holds the two together."""
TERM_S = 4.0
"""Of a leader, as `backend.db.repositories.leadership` has it."""

LEADER, STANDBY = "leader", "standby"
"""Targets that are found out when the fault begins."""


class Kind(StrEnum):
    """One way to hurt a running studio."""

    KILL_LEADER = "kill_leader"
    KILL_STANDBY = "kill_standby"
    STOP_LEADER = "stop_leader"
    CONTROLS_AWAY = "controls_away"
    KILL_POSTMASTER = "kill_postmaster"
    KILL_BACKEND = "kill_backend"
    KILL_VALKEY = "kill_valkey"
    VALKEY_AWAY = "valkey_away"
    KILL_WORKER = "kill_worker"
    WORKER_AWAY = "worker_away"
    STOP_WORKER = "stop_worker"
    KILL_WEB = "kill_web"
    KILL_MODERATOR = "kill_moderator"
    FLUSHALL = "flushall"
    STORAGE_ERRORS = "storage_errors"
    DISK_FULL = "disk_full"
    CLOCK_JUMP = "clock_jump"
    TORN_PUT = "torn_put"
    TORN_FORM = "torn_form"


DEAFENING = (
    Kind.KILL_LEADER,
    Kind.KILL_STANDBY,
    Kind.STOP_LEADER,
    Kind.KILL_POSTMASTER,
    Kind.KILL_BACKEND,
    Kind.KILL_VALKEY,
    Kind.VALKEY_AWAY,
    Kind.CONTROLS_AWAY,
)
"""After each of these the leader may have to listen for one whole lease before it may bury anybody (rule 10)."""

HEARING = tuple(kind for kind in Kind if kind not in DEAFENING)
"""During these there is a leader that hears: what is overdue then is overdue."""

ALONE = frozenset({Kind.VALKEY_AWAY, Kind.CONTROLS_AWAY})
"""Nothing else begins before one lease after them, so that running jobs have no other reason to be lost."""

_LENGTHS_S: dict[Kind, tuple[float, float]] = {
    Kind.STOP_LEADER: (TERM_S + 2, TERM_S + 4),
    Kind.VALKEY_AWAY: (LEASE_S + 2, LEASE_S + 5),
    Kind.CONTROLS_AWAY: (LEASE_S + 2, LEASE_S + 5),
    Kind.STOP_WORKER: (LEASE_S + 2, LEASE_S + 4),
    Kind.WORKER_AWAY: (LEASE_S + 20, LEASE_S + 24),
    Kind.STORAGE_ERRORS: (4, 8),
    Kind.DISK_FULL: (4, 8),
    Kind.CLOCK_JUMP: (6, 10),
}
_JUMPS_S = (-7200.0, -600.0, -45.0, 45.0, 600.0, 7200.0)
_GAP_S = (2.5, 5.5)
_CALM_S = LEASE_S + 2
"""Before the hearing half of a round: so much is left for the leader to begin to hear."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. `at_s` counts from the storm's start; `for_s` is 0 for what is done at once.

    `amount`: seconds that a clock jumps; the share of calls to storage that fail.
    """

    number: int
    kind: Kind
    at_s: float
    for_s: float = 0.0
    target: str = ""
    amount: float = 0.0

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.at_s + self.for_s

    def __str__(self) -> str:
        parts = [self.kind.value, self.target, f"for {self.for_s:.0f} s" if self.for_s else ""]
        if self.kind is Kind.CLOCK_JUMP:
            parts.append(f"by {self.amount:+.0f} s")
        return " ".join(part for part in parts if part)


def plan_faults(seed: int, duration_s: float, kinds: Sequence[Kind] = tuple(Kind)) -> tuple[Fault, ...]:
    """The faults of a storm, in order; the last one ends within `duration_s`.

    Rounds of two halves, each kind once a round in an order of its own: first what deafens the leader, then the rest.
    """
    chance = random.Random(f"storm {seed}")
    faults: list[Fault] = []
    at_s = 3.0
    busy_until: dict[str, float] = {}
    while True:
        for half in (DEAFENING, HEARING):
            deck = [kind for kind in half if kind in kinds]
            chance.shuffle(deck)
            if half is HEARING and deck and any(kind in kinds for kind in DEAFENING):
                at_s += _CALM_S
                # What takes longest goes first: it ends before the next round makes the leader deaf.
                deck.sort(key=lambda kind: kind is not Kind.WORKER_AWAY)
            for kind in deck:
                fault = _fault(chance, len(faults) + 1, kind, at_s, busy_until)
                if fault.end_s > duration_s:
                    return tuple(faults)
                faults.append(fault)
                busy_until[fault.target] = fault.end_s + 2
                gap_s = chance.uniform(*_GAP_S)
                at_s = round((fault.end_s + LEASE_S if kind in ALONE else fault.at_s) + gap_s, 2)
        at_s = max(at_s, *(until for until in busy_until.values()))


def _fault(
    chance: random.Random, number: int, kind: Kind, at_s: float, busy_until: dict[str, float]
) -> Fault:
    length = _LENGTHS_S.get(kind)
    for_s = round(chance.uniform(*length), 2) if length else 0.0
    candidates = _targets(kind)
    # A process that is away or stopped can't be hurt again; then the one that is there soonest waits its turn.
    free = [name for name in candidates if busy_until.get(name, 0.0) <= at_s]
    if candidates and not free:
        soonest = min(candidates, key=lambda name: busy_until[name])
        free, at_s = [soonest], busy_until[soonest]
    target = chance.choice(free) if free else ""
    amount = 0.0
    if kind is Kind.CLOCK_JUMP:
        amount = chance.choice(_JUMPS_S)
    elif kind is Kind.STORAGE_ERRORS:
        amount = round(chance.uniform(0.3, 0.9), 2)
    return Fault(number=number, kind=kind, at_s=round(at_s, 2), for_s=for_s, target=target, amount=amount)


def _targets(kind: Kind) -> tuple[str, ...]:
    match kind:
        case Kind.KILL_WORKER | Kind.WORKER_AWAY | Kind.STOP_WORKER:
            return WORKERS
        case Kind.KILL_WEB:
            return WEBS
        case Kind.KILL_MODERATOR:
            return MODERATORS
        case Kind.CLOCK_JUMP:
            return WITH_CLOCK
        case Kind.KILL_LEADER | Kind.STOP_LEADER:
            return (LEADER,)
        case Kind.KILL_STANDBY:
            return (STANDBY,)
        case _:
            return ()
