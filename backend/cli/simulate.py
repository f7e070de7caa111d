"""`trace` makes a trace, `simulate` runs the scheduler over one on a virtual clock."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from backend.domain.shares import TierShare
from backend.domain.tiers import TIERS
from backend.operator_errors import OperatorError
from backend.simulator.generate import TARGETS, TraceOptions, generate
from backend.simulator.policies import PolicyName
from backend.simulator.report import Figures, figures_of
from backend.simulator.run import Fleet, Simulation
from backend.simulator.trace import TraceJob, TraceShape, read_trace, shape_of, write_trace

SCALED = ("gpu_s_p50", "gpu_s_p90", "gpu_s_p95", "gpu_s_p99")


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    app.command()(trace)
    app.command()(simulate)


def trace(
    output: Annotated[Path, typer.Argument(metavar="OUT.csv", help="Where the trace goes.")],
    jobs: Annotated[int | None, typer.Option(help="How many jobs; the hours follow from the load.")] = None,
    hours: Annotated[float | None, typer.Option(help="How long; a day if neither is given.")] = None,
    gpus: Annotated[int, typer.Option(help="How many GPUs the load is meant for.")] = 8,
    load: Annotated[float, typer.Option(help="Mean work as a share of what the GPUs can do.")] = 0.45,
    scale: Annotated[float, typer.Option(help="Times as long as in the public trace.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same trace.")] = 1,
    shape: Annotated[
        bool, typer.Option("--shape", help="Show the shape reached against the target.")
    ] = False,
) -> None:
    """Make a trace with the shape of a public production trace."""
    options = TraceOptions(seed=seed, jobs=jobs, hours=hours, gpus=gpus, load=load, scale_s=scale)
    made = generate(options)
    write_trace(output, made)
    reached = shape_of(made)
    print(f"{output}: {reached.jobs} jobs of {reached.accounts} accounts in {reached.span_s / 3600:.2f} h")
    if shape:
        print("\n".join(_shape_table(reached, options)))


def _shape_table(shape: TraceShape, options: TraceOptions) -> list[str]:
    targets = {name: value * (options.scale_s if name in SCALED else 1) for name, value in TARGETS.items()}
    rows = [
        *((name, getattr(shape, name), target) for name, target in targets.items()),
        ("load", shape.load(options.gpus), options.load),
    ]
    return [
        f"{'figure':<18}{'reached':>10}{'target':>10}",
        *(f"{name:<18}{reached:>10.4g}{target:>10.4g}" for name, reached, target in rows),
        f"{'light_accounts':<18}{shape.light_accounts:>10.4g}{'':>10}",
    ]


CARDS_GB = {
    "h200": 141.0,
    "h100": 80.0,
    "a100": 80.0,
    "l40s": 48.0,
    "a6000": 48.0,
    "rtx5090": 32.0,
    "rtx4090": 24.0,
    "l4": 24.0,
}
DEFAULT_GB = 80.0
MAX_GPUS = 10_000
LEAST_MTBF_S = 60.0
"""A worker that crashes before its first checkpoints gets nothing done, ever."""


class SimulationError(OperatorError):
    """The simulation can't be run as it was asked for."""

    exit_code = 2

    def __init__(self, problem: str) -> None:
        super().__init__(problem, "zoetrope simulate --help says what fits")


def simulate(
    trace_file: Annotated[
        Path, typer.Argument(metavar="TRACE.csv", help="Made by `zoetrope trace`, or yours.")
    ],
    gpus: Annotated[int | None, typer.Option(help=f"So many GPUs of {DEFAULT_GB:g} GB.")] = None,
    fleet: Annotated[str | None, typer.Option(help="Or by card: h200:6,l40s:4.")] = None,
    policy: Annotated[
        PolicyName, typer.Option(help="fair refuses as the studio does; the others take all.")
    ] = (PolicyName.FAIR),
    switch_s: Annotated[float, typer.Option(help="Seconds to load a model.")] = 22.7,
    mtbf: Annotated[float | None, typer.Option(help="Mean seconds between crashes of one worker.")] = None,
    halve_at: Annotated[
        float | None, typer.Option(help="Second at which half of the workers vanish.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Tiers' weights: free=1,plus=2,pro=4.")] = None,
    seed: Annotated[int, typer.Option(help="For crashes.")] = 1,
    compare: Annotated[
        bool, typer.Option("--compare", help="All three policies, one after another, whatever --policy says.")
    ] = False,
    refuse: Annotated[bool, typer.Option("--refuse/--accept-all", help="Bound each tier's backlog.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> None:
    """Run the scheduler over a trace on a virtual clock, and print what became of everyone."""
    jobs = read_trace(trace_file)
    if not jobs:
        raise SimulationError(f"{trace_file} has no jobs: give it a line for each, below the header.")
    memory_gb = _fleet(gpus, fleet)
    shares = _shares(jobs, weights)
    if switch_s < 0 or (mtbf is not None and mtbf < LEAST_MTBF_S) or (halve_at is not None and halve_at < 0):
        raise SimulationError(f"--switch-s and --halve-at are at least 0, --mtbf at least {LEAST_MTBF_S:g}.")
    machines = Fleet(
        memory_gb=memory_gb,
        switch_s=switch_s,
        mtbf_s=math.inf if mtbf is None else mtbf,
        halve_at_s=math.inf if halve_at is None else halve_at,
    )

    def run(policy: PolicyName) -> Figures:
        return figures_of(
            Simulation(jobs, machines, policy=policy, shares=shares, refuse=refuse, seed=seed).run()
        )

    if not compare:
        figures = run(policy)
        print(json.dumps(figures, indent=2) if as_json else "\n".join(_figures_table(figures)))
        return
    by_policy = {each.value: run(each) for each in PolicyName}
    if as_json:
        print(json.dumps(by_policy, indent=2))
        return
    for name, figures in by_policy.items():
        print("\n".join([name, *(f"  {line}" for line in _figures_table(figures))]))


def _fleet(gpus: int | None, fleet: str | None) -> list[float]:
    if (gpus is None) == (fleet is None):
        raise SimulationError("Give --gpus N or --fleet 'h200:6,l40s:4', one of the two.")
    if gpus is not None:
        if not 1 <= gpus <= MAX_GPUS:
            raise SimulationError(f"--gpus is from 1 to {MAX_GPUS}.")
        return [DEFAULT_GB] * gpus
    found: list[float] = []
    for part in (fleet or "").split(","):
        card, _colon, count = part.strip().partition(":")
        if card.lower() not in CARDS_GB or not count.isascii() or not count.isdigit() or int(count) < 1:
            raise SimulationError(f"--fleet: {part!r} is no CARD:COUNT; cards are {', '.join(CARDS_GB)}.")
        found += [CARDS_GB[card.lower()]] * min(int(count), MAX_GPUS + 1)
    if len(found) > MAX_GPUS:
        raise SimulationError(f"--fleet: at most {MAX_GPUS} workers.")
    return found


def _shares(jobs: list[TraceJob], weights: str | None) -> dict[str, TierShare]:
    """The shipped tiers that the trace names, with these weights. A tier that isn't shipped needs one."""
    given: dict[str, float] = {}
    for part in (weights or "").split(",") if weights else []:
        name, _equals, value = part.strip().partition("=")
        try:
            given[name] = float(value)
        except ValueError:
            given[name] = 0.0
        if not name or not 0 < given[name] < 1e6:
            raise SimulationError(f"--weights: {part!r} is no TIER=WEIGHT with a weight above 0.")
    shares: dict[str, TierShare] = {}
    for name in sorted({job.tier for job in jobs} | given.keys()):
        tier = TIERS.get(name)
        if tier is None and name not in given:
            raise SimulationError(f"The trace has a tier {name!r}: give its weight, --weights {name}=1,…")
        unknown = TierShare(weight=1.0, ceiling_s=TIERS["free"].ceiling.total_seconds())
        share = unknown if tier is None else TierShare.of(tier)
        shares[name] = replace(share, weight=given.get(name, share.weight))
    return shares


def _figures_table(figures: Figures) -> list[str]:
    columns = (
        "jobs",
        "refused",
        "wait_p50_s",
        "wait_p95_s",
        "wait_p99_s",
        "fair_wait_p99_s",
        "share",
        "past_ceiling",
    )
    lines = [f"{'tier':<10}" + "".join(f"{name:>17}" for name in columns)]
    for name, tier in figures["tiers"].items():
        values = dict(tier)
        lines.append(f"{name:<10}" + "".join(f"{_said(values[column]):>17}" for column in columns))
    light, gpu = figures["light_users"], figures["gpu"]
    lines += [
        f"light users: slowdown p50 {_said(light['slowdown_p50'])}, p95 {_said(light['slowdown_p95'])}",
        f"GPU: {_said(gpu['useful_of_busy'])} of busy time useful; {_said(figures['switch_rate'])} switches a start",
        f"p90 of the ETA held: {_said(figures['eta_p90_coverage'])}; preemptions: {figures['preemptions']}",
    ]
    return lines


def _said(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"
