"""The pictures of docs/scheduling.md, from the simulator: .venv/bin/python tools/plot_scheduling.py [FOLDER]

SVG by hand, in colours that can be read on white and on black. Minutes of one core.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backend.domain.shares import TierShare, effective_weights
from backend.domain.tiers import TIERS
from backend.simulator.backlogged import backlogged
from backend.simulator.generate import TraceOptions, generate
from backend.simulator.policies import PolicyName
from backend.simulator.run import Fleet, Outcome, Simulation
from backend.simulator.trace import TraceJob

SHARES = {name: TierShare.of(tier) for name, tier in TIERS.items() if name != "internal"}
INK, FAINT = "#7a7a7a", "#7a7a7a55"
COLOURS = {"fair": "#2b8fd6", "priority": "#c9731d", "fifo": "#8a76c9"} | {
    "free": "#2f9e6e",
    "plus": "#c9731d",
    "pro": "#2b8fd6",
}
HALVE_AT_S = 5400.0
WINDOW_S = 600.0
WINDOWS = 18


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A rectangle of the picture with its scales: from data to pixels."""

    left: float
    top: float
    width: float
    height: float
    across: Callable[[float], float]
    up: Callable[[float], float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a value."""
        return self.left + self.width * self.across(x), self.top + self.height * (1 - self.up(y))


def text(
    x: float, y: float, words: str, *, fill: str = INK, anchor: str = "start", bold: bool = False
) -> str:
    """A line of words."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}"{weight}>{words}</text>'


def line(points: Sequence[tuple[float, float]], stroke: str, *, width: float = 2, dash: str = "") -> str:
    """A line through pixels."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{dashes}/>'


def picture(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """The file. The title is for those who can't see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12">\n'
        f"<title>{title}</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def simulated(
    jobs: Sequence[TraceJob], policy: PolicyName = PolicyName.FAIR, *, halve_at_s: float = math.inf
) -> Outcome:
    """On 8 GPUs, as docs/scheduling.md has it."""
    fleet = Fleet(memory_gb=[80.0] * 8, switch_s=22.7, halve_at_s=halve_at_s)
    return Simulation(jobs, fleet, policy=policy, shares=SHARES, refuse=True, seed=1).run()


def waits_plot(outcomes: Sequence[Outcome]) -> str:
    """How many of a tier's jobs had started after so long, a panel a tier and a line a policy."""
    parts = [text(8, 16, "Part of the accepted jobs that had started after a wait of at most …", bold=True)]
    ticks = {1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 28800: "8 h"}
    for place, tier in enumerate(SHARES):
        panel = Panel(
            left=44 + 236 * place,
            top=48,
            width=200,
            height=170,
            across=lambda s: math.log10(max(1.0, s)) / math.log10(40_000),
            up=lambda part: part,
        )
        parts.append(text(panel.left, 38, tier, bold=True))
        for part in (0.0, 0.5, 1.0):
            parts.append(line([panel.at(1, part), panel.at(40_000, part)], FAINT, width=1))
            if place == 0:
                parts.append(text(38, panel.at(1, part)[1] + 4, f"{part:.0%}", anchor="end"))
        for wait_s, name in ticks.items():
            x, y = panel.at(wait_s, 0)
            parts += [line([(x, y), (x, y + 4)], INK, width=1), text(x, y + 17, name, anchor="middle")]
        for outcome in outcomes:
            waits = sorted(
                fate.started_s - fate.job.arrival_s
                for fate in outcome.fates
                if fate.started_s is not None and fate.job.tier == tier
            )
            steps = [(waits[int(at / 100 * (len(waits) - 1))], at / 100) for at in range(101)]
            colour = COLOURS[outcome.policy.value]
            parts.append(line([panel.at(*step) for step in steps], colour))
            percent, right, down = NAMED_AT[tier][outcome.policy.value]
            x, y = panel.at(*steps[percent])
            anchor = "start" if right > 0 else "end"
            parts.append(text(x + right, y + down, outcome.policy.value, fill=colour, anchor=anchor))
    return picture(740, 250, "Waits by tier and policy", parts)


NAMED_AT: dict[str, dict[str, tuple[int, int, int]]] = {
    "free": {"fair": (60, -6, 4), "priority": (33, 6, 4), "fifo": (60, -6, 4)},
    "plus": {"fair": (57, -6, 0), "priority": (47, 8, 14), "fifo": (60, 6, 4)},
    "pro": {"fair": (92, 6, 8), "priority": (55, -6, -2), "fifo": (50, 6, 4)},
}
"""At which percentile each line has its name, and pixels to the right and down from there: so names don't meet."""


def switches_plot(outcomes: Sequence[Outcome]) -> str:
    """Model loads a start, a bar a policy."""
    parts = [text(8, 16, "Models loaded for each job that started", bold=True)]
    for place, outcome in enumerate(outcomes):
        name, rate = outcome.policy.value, outcome.switches / outcome.starts
        y = 34 + 30 * place
        parts += [
            text(66, y + 14, name, anchor="end"),
            f'<rect x="74" y="{y}" width="{560 * rate:.1f}" height="20" fill="{COLOURS[name]}"/>',
            text(80 + 560 * rate, y + 14, f"{rate:.2f}", fill=COLOURS[name], bold=True),
        ]
    return picture(740, 130, "Switches of models by policy", parts)


def shares_plot(outcome: Outcome) -> str:
    """Each tier's part of the GPU-seconds started in ten minutes, and when half of the workers vanish."""
    started: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for fate in outcome.fates:
        if fate.started_s is not None:
            started[int(fate.started_s // WINDOW_S)][fate.job.tier] += fate.job.gpu_s
    weights = effective_weights(SHARES)
    panel = Panel(
        left=44,
        top=40,
        width=600,
        height=190,
        across=lambda minute: minute / (WINDOWS * WINDOW_S / 60),
        up=lambda part: part / 0.7,
    )
    parts = [text(8, 16, "Share of the work started in ten minutes, every tier backlogged", bold=True)]
    for part in (0.0, 0.2, 0.4, 0.6):
        parts += [
            line([panel.at(0, part), panel.at(180, part)], FAINT, width=1),
            text(38, panel.at(0, part)[1] + 4, f"{part:.0%}", anchor="end"),
        ]
    for minute in range(0, 181, 30):
        parts.append(text(*panel.at(minute, -0.06), f"{minute} min", anchor="middle"))
    lost = HALVE_AT_S / 60
    parts += [
        line([panel.at(lost, 0), panel.at(lost, 0.7)], INK, width=1, dash="3 3"),
        text(panel.at(lost, 0)[0] + 6, 50, "4 of 8 workers vanish"),
    ]
    for tier, weight in weights.items():
        by_weight = weight / sum(weights.values())
        parts.append(
            line([panel.at(0, by_weight), panel.at(180, by_weight)], COLOURS[tier], width=1, dash="2 4")
        )
        found = [
            panel.at((at + 0.5) * WINDOW_S / 60, started[at][tier] / sum(started[at].values()))
            for at in range(WINDOWS)
        ]
        parts += [
            line(found, COLOURS[tier]),
            text(found[-1][0] + 24, found[-1][1] + 4, tier, fill=COLOURS[tier]),
        ]
    return picture(740, 260, "Shares over time when half of the workers vanish", parts)


def main(folder: Path) -> None:
    """Write the three pictures."""
    trace = generate(TraceOptions(seed=1))
    outcomes = [
        simulated(trace, policy) for policy in (PolicyName.FAIR, PolicyName.PRIORITY, PolicyName.FIFO)
    ]
    halved = simulated(backlogged(), halve_at_s=HALVE_AT_S)
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in (
        ("waits", waits_plot(outcomes)),
        ("switches", switches_plot(outcomes)),
        ("halved", shares_plot(halved)),
    ):
        (folder / f"scheduling-{name}.svg").write_text(drawn)


if __name__ == "__main__":
    images = Path(__file__).resolve().parents[1] / "docs" / "images"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else images)
