"""`trace`: makes a trace for the simulator."""

from pathlib import Path
from typing import Annotated

import typer

from backend.simulator.generate import TARGETS, TraceOptions, generate
from backend.simulator.trace import TraceShape, shape_of, write_trace

SCALED = ("gpu_s_p50", "gpu_s_p90", "gpu_s_p95", "gpu_s_p99")


def register(app: typer.Typer) -> None:
    """Adds this command."""
    app.command()(trace)


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
