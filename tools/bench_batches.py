"""What a clip costs in a batch, against alone: medians of interleaved passes of the engine.

    .venv/bin/python tools/bench_batches.py --recipe mini --runs 5 --sizes 2,3,4

Prints JSON: seconds a clip alone, and for each size seconds a clip and their ratio to those alone.
"""

import argparse
import json
import statistics
import time

from backend.contracts import AttemptPhase, RenderSpec
from backend.recipes import CATALOGUE, Recipe
from backend.settings import Device
from gpu_worker.diffusers_engine import DiffusersEngine
from gpu_worker.engine import Member, RenderRequest, StepBoundary


class Unheard:
    """Hooks that do nothing."""

    def on_phase(self, phase: AttemptPhase) -> None:
        """Nobody asks."""

    def on_step(self, boundary: StepBoundary) -> None:
        """Nobody asks."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="mini", choices=sorted(CATALOGUE))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", default="2,3,4")
    arguments = parser.parse_args()
    recipe = CATALOGUE[arguments.recipe]
    sizes = [1, *(int(size) for size in arguments.sizes.split(","))]
    engine = DiffusersEngine(Device.AUTO)
    engine.load(recipe)
    took_s: dict[int, list[float]] = {size: [] for size in sizes}
    # The first pass of each size counts for nothing: it may compile, and it fills caches.
    for run in range(arguments.runs + 1):
        for size in sizes:
            started = time.monotonic()
            engine.generate_batch(recipe, _members(recipe, size))
            if run:
                took_s[size].append((time.monotonic() - started) / size)
    alone_s = statistics.median(took_s[1])
    found: dict[str, object] = {"recipe": recipe.name, "runs": arguments.runs, "alone_s": round(alone_s, 3)}
    for size in sizes[1:]:
        clip_s = statistics.median(took_s[size])
        found[str(size)] = {"clip_s": round(clip_s, 3), "of_alone": round(clip_s / alone_s, 3)}
    print(json.dumps(found, indent=2))


def _members(recipe: Recipe, count: int) -> list[Member]:
    size, length = recipe.sizes[0], recipe.lengths[0]
    prompts = recipe.examples or ("a clip",)
    return [
        Member(
            request=RenderRequest(
                spec=RenderSpec(
                    prompt=prompts[index % len(prompts)],
                    width=size.width,
                    height=size.height,
                    num_frames=length.num_frames,
                    fps=recipe.fps,
                    num_inference_steps=recipe.steps.default,
                    guidance_scale=recipe.guidance.default,
                    seed=index,
                )
            ),
            hooks=Unheard(),
        )
        for index in range(count)
    ]


if __name__ == "__main__":
    main()
