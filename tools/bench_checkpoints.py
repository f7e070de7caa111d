"""What checkpoints and a preemption cost a run: medians of interleaved runs, with and without.

    .venv/bin/python tools/bench_checkpoints.py --engine fake --steps 60 --step-s 1.0 --runs 3
    .venv/bin/python tools/bench_checkpoints.py --engine mini --steps 2400 --runs 5

A run is one call of the engine with the worker's own hooks: the time that the GPU is taken. Prints JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from backend.contracts import Order, OrderObjects, RenderSpec, SignedObject
from backend.recipes import CATALOGUE, Recipe
from backend.settings import Device
from gpu_worker.attempt import AttemptInterruptedError, AttemptRun, Interrupt, Sinks
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.engine import Engine, Frames, RenderRequest
from gpu_worker.fake_engine import FakeEngine, FakeSettings

NEVER_S = 1e9


class Measurement:
    """Runs of one spec on one engine; checkpoints go to a folder in a thread of their own, as in the worker."""

    def __init__(self, engine: Engine, recipe: Recipe, steps: int, folder: Path) -> None:
        self._engine = engine
        self._recipe = recipe
        self._folder = folder
        self._keeper = ThreadPoolExecutor(max_workers=1)
        self._last_cost_s = 0.0
        size, length = recipe.sizes[0], recipe.lengths[0]
        self._spec = RenderSpec(
            prompt=recipe.examples[0] if recipe.examples else "a clip",
            width=size.width,
            height=size.height,
            num_frames=length.num_frames,
            fps=recipe.fps,
            num_inference_steps=steps,
            guidance_scale=recipe.guidance.default,
            seed=7,
        )

    def run(self, every_s: float) -> tuple[float, float, int]:
        """One undisturbed run with checkpoints this often: its seconds, those it stood still for them, their count."""
        kept: list[int] = []
        run = self._attempt(every_s, kept)
        took_s, _frames = self._timed(run, None)
        self._last_cost_s = run.checkpoint_cost_s
        return took_s, run.checkpoint_s, len(kept)

    def run_preempted(self, at_step: int) -> float:
        """Seconds of a run that is preempted at this step and goes on from its checkpoint, both parts together."""
        run = self._attempt(NEVER_S, [])
        asked = run.on_step

        def on_step(boundary: object) -> None:
            if run.step + 1 == at_step:
                run.interrupt = Interrupt.PREEMPT
            asked(boundary)  # type: ignore[arg-type]  # the boundary that the engine gives

        run.on_step = on_step  # type: ignore[method-assign]  # the wish comes at a known step
        started = time.monotonic()
        try:
            self._timed(run, None)
            raise RuntimeError("the run was not preempted")
        except AttemptInterruptedError as error:
            first_s, checkpoint = time.monotonic() - started, error.checkpoint
        assert checkpoint is not None
        second_s, _frames = self._timed(
            self._attempt(NEVER_S, []), Checkpoint.from_bytes(checkpoint.to_bytes())
        )
        return first_s + second_s

    def _timed(self, run: AttemptRun, checkpoint: Checkpoint | None) -> tuple[float, Frames]:
        started = time.monotonic()
        request = RenderRequest(spec=self._spec, checkpoint=checkpoint)
        clip = self._engine.generate(self._recipe, request, run)
        return time.monotonic() - started, clip.frames

    def _attempt(self, every_s: float, kept: list[int]) -> AttemptRun:
        def keep(run: AttemptRun, checkpoint: Checkpoint) -> None:
            self._keeper.submit(self._keep, run, checkpoint, kept)

        sinks = Sinks(changed=lambda: None, keep_checkpoint=keep, show_preview=lambda run, frames: None)
        nowhere = SignedObject(key="nowhere")
        order = Order(
            attempt_id="measured",
            job_id="measured",
            fence=1,
            worker_id="measured",
            recipe=self._recipe.name,
            recipe_revision=self._recipe.revision,
            spec=self._spec,
            objects=OrderObjects(**dict.fromkeys(OrderObjects.model_fields, nowhere)),
            checkpoint_every_s=every_s,
            preview_every_s=NEVER_S,
        )
        return AttemptRun(order, sinks, self._last_cost_s)

    def _keep(self, run: AttemptRun, checkpoint: Checkpoint, kept: list[int]) -> None:
        (self._folder / "checkpoint").write_bytes(checkpoint.to_bytes())
        kept.append(checkpoint.step)
        run.checkpoint_busy = False


def main() -> None:
    """Measure, and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--engine", choices=("fake", "mini"), default="mini")
    asked.add_argument("--steps", type=int, default=2400)
    asked.add_argument("--step-s", type=float, default=1.0, help="of the fake engine")
    asked.add_argument("--runs", type=int, default=5)
    asked.add_argument("--every-s", type=float, help="between checkpoints; by default the recipe's")
    arguments = asked.parse_args()
    recipe = CATALOGUE["mini"]
    engine: Engine
    if arguments.engine == "fake":
        engine = FakeEngine(FakeSettings(step_s=arguments.step_s))
    else:
        from gpu_worker.diffusers_engine import DiffusersEngine

        engine = DiffusersEngine(Device.AUTO)
    engine.load(recipe)
    every_s = arguments.every_s or recipe.checkpoint_every_s
    without: list[float] = []
    with_them: list[float] = []
    still: list[float] = []
    preempted: list[float] = []
    count = 0
    with tempfile.TemporaryDirectory(prefix="zoetrope-") as folder:
        measurement = Measurement(engine, recipe, arguments.steps, Path(folder))
        for _ in range(arguments.runs):
            without.append(measurement.run(NEVER_S)[0])
            took_s, still_s, count = measurement.run(every_s)
            with_them.append(took_s)
            still.append(still_s / took_s)
            preempted.append(measurement.run_preempted(arguments.steps // 2))
    base = statistics.median(without)
    print(
        json.dumps(
            {
                "engine": arguments.engine,
                "steps": arguments.steps,
                "runs": arguments.runs,
                "every_s": every_s,
                "without_s": round(base, 3),
                "with_checkpoints_s": round(statistics.median(with_them), 3),
                "checkpoints": count,
                "stood_still_for_them": round(statistics.median(still), 6),
                "checkpoints_cost": round(statistics.median(with_them) / base - 1, 5),
                "preempted_s": round(statistics.median(preempted), 3),
                "preemption_cost": round(statistics.median(preempted) / base - 1, 5),
            }
        )
    )


if __name__ == "__main__":
    main()
