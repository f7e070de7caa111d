"""What a storm says: a line every few seconds, and a report in the end."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.domain.generation import ENDS
from tests.storm.invariants import Rule, Violation
from tests.storm.load import Load, Memory
from tests.storm.plan import Kind
from tests.storm.watch import RECOVERS_WITHIN_S, Seen, Watcher

if TYPE_CHECKING:
    from tests.storm.afterwards import Afterwards

MOST_NAMED = 60


def live_line(at_s: float, watcher: Watcher, load: Load) -> str:
    """How it goes."""
    states = Counter(job.state for job in watcher.latest.jobs.values()) if watcher.latest else Counter()
    ended = sum(states[state] for state in ENDS)
    under_way = sum(states.values()) - ended
    broken = len(watcher.seen.violations) + len(load.memory.violations)
    return (
        f"{at_s:6.1f} s  accepted {len(load.memory.accept_s)}, under way {under_way}"
        f" ({states['queued']} queued, {states['running']} running), ended {ended}, violations {broken}"
    )


def share(values: list[float], part: float) -> float:
    """The value that this part of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


@dataclass(kw_only=True)
class Report:
    """All that one storm showed."""

    seed: int
    duration_s: float
    planned: int = 0
    violations: list[Violation] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    torn: int = 0
    calm_s: float | None = None
    states: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))
    memory: Memory = field(default_factory=Memory)
    samples: int = 0
    blind_s: float = 0.0
    still_s: float = 0.0
    drafts: int = 0

    def fill(self, seen: Seen, memory: Memory, after: "Afterwards", calm_s: float | None) -> None:
        """Take over what the others know, and judge what is late."""
        self.calm_s = calm_s
        self.states, self.attempts, self.drafts = after.states, after.attempts, after.drafts
        self.memory, self.samples = memory, seen.samples
        self.blind_s, self.still_s = seen.blind_s, seen.still_s
        for each in seen.recoveries:
            self.recoveries[each.struck.kind.value].append(each.after_s)

    def text(self) -> str:
        """For people."""
        memory = self.memory
        acknowledged = {job_id for asked in memory.asked for job_id in asked.answered_with}
        resent = sum(asked.sent > 1 for asked in memory.asked)
        lines = [
            "",
            f"storm of {self.duration_s:.0f} s, seed {self.seed}: {self.planned} faults,"
            f" {len(memory.asked)} wishes, {len(acknowledged)} jobs acknowledged, {resent} wishes sent again",
            f"jobs      {_counted(self.states)}",
            f"attempts  {_counted(self.attempts)}",
            f"answers   {_counted(memory.answers)}",
            f"accept    p50 {1000 * share(memory.accept_s, 0.5):.0f} ms,"
            f" p99 {1000 * share(memory.accept_s, 0.99):.0f} ms, longest {max(memory.accept_s, default=0):.1f} s",
            f"watched   {self.samples} samples (none for {self.blind_s:.0f} s without a database; for"
            f" {self.still_s:.0f} s the machine had no time), {memory.polls} lists, {memory.streams} event streams"
            f" ({memory.streams_ended} to the end), {memory.peeks} peeks at hidden clips,"
            f" {self.torn} uploads torn, {self.drafts} drafts left by kills",
            "",
            f"{'fault':<16}{'times':>6}{'back to work after':>22}{'at most':>10}",
        ]
        for kind, all_s in sorted(self.recoveries.items()):
            known = [each for each in all_s if each is not None]
            late = "never" if len(known) < len(all_s) else f"{max(known, default=0):.1f} s"
            lines.append(f"{kind:<16}{len(all_s):>6}{share(known, 0.5):>20.1f} s{late:>10}")
        if self.unexpected:
            lines += ["", f"ended by themselves: {_counted(Counter(self.unexpected))}"]
        lines.append("")
        if self.calm_s is not None:
            lines.append(f"all done {self.calm_s:.1f} s after the last fault")
        if spared := [kind.value for kind in Kind if not self.recoveries.get(kind.value)]:
            lines.append(f"not tried: {', '.join(spared)}")
        if not self.violations:
            lines.append("nothing was broken")
        else:
            lines.append(f"{len(self.violations)} violations:")
            lines += [f"!!  {each}" for each in self.violations[:MOST_NAMED]]
        return "\n".join(lines)


def late_recoveries(seen: Seen, within_s: float = RECOVERS_WITHIN_S) -> list[Violation]:
    """After each fault, and what came on top of it, everybody works again within the bound."""
    return [
        Violation(
            rule=Rule.NOT_RECOVERED,
            subject=f"{each.struck.kind.value} {each.struck.target}".strip(),
            words="never" if each.undisturbed_s is None else f"after {each.undisturbed_s:.1f} s",
        )
        for each in seen.recoveries
        if each.undisturbed_s is None or each.undisturbed_s > within_s
    ]


def not_calm(calm_s: float | None, within_s: float) -> list[Violation]:
    """All was done within the bound."""
    if calm_s is not None:
        return []
    words = f"not within {within_s:g} s of the last fault"
    return [Violation(rule=Rule.NOT_ENDED, subject="the studio", words=words)]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
