"""Measures a recipe on this machine: what its `cost` and `memory_gb` should say. Run by `zoetrope models measure`."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

from backend.contracts import AttemptPhase, RenderSpec
from backend.operator_errors import OperatorError
from backend.recipes import CATALOGUE, Recipe
from backend.settings import load_settings
from gpu_worker.diffusers_engine import DiffusersEngine
from gpu_worker.encode import encode_clip
from gpu_worker.engine import EngineClip, EngineError, RenderRequest, StepBoundary

_WARM_UP_STEPS = 2
_GB = 1e9


class Steps:
    """Hooks that show how far it is."""

    def on_phase(self, phase: AttemptPhase) -> None:
        """Say it."""
        print(f"\r{phase.value:<20}", end="", file=sys.stderr, flush=True)

    def on_step(self, boundary: StepBoundary) -> None:
        """Count it."""
        print(f"\rstep {boundary.step} of {boundary.steps:<12}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Load, render once to warm up and once by the clock; print what to write into the recipe."""
    wanted = _arguments()
    try:
        recipe = CATALOGUE[wanted.model]
        settings = load_settings()
        engine = DiffusersEngine(settings.device)
        started = time.monotonic()
        engine.load(recipe)
        load_s = time.monotonic() - started
        spec = _spec(recipe, wanted.steps or recipe.steps.low)
        warm_up = spec.model_copy(update={"num_inference_steps": _WARM_UP_STEPS})
        engine.generate(recipe, RenderRequest(spec=warm_up), Steps())
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        clip = engine.generate(recipe, RenderRequest(spec=spec), Steps())
    except (OperatorError, EngineError) as error:
        print(f"\rzoetrope: {error}", file=sys.stderr)
        return 1
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    print(_report(recipe, engine, spec, clip, load_s))
    if wanted.output is not None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.move(encode_clip(clip.frames, recipe.fps, Path(folder)).video.path, wanted.output)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="zoetrope models measure", description=__doc__)
    parser.add_argument("model", choices=CATALOGUE)
    parser.add_argument("--steps", type=int, help="default: the fewest that the recipe allows")
    parser.add_argument("--output", type=Path, help="keep the clip that was measured")
    return parser.parse_args()


def _spec(recipe: Recipe, steps: int) -> RenderSpec:
    largest = max(recipe.sizes, key=lambda size: size.width * size.height)
    length = max(recipe.lengths, key=lambda length: length.num_frames)
    return RenderSpec(
        prompt=recipe.examples[0] if recipe.examples else "a cat on a wall",
        width=largest.width,
        height=largest.height,
        num_frames=length.num_frames,
        fps=recipe.fps,
        num_inference_steps=steps,
        guidance_scale=recipe.guidance.default,
        seed=1,
    )


def _report(
    recipe: Recipe, engine: DiffusersEngine, spec: RenderSpec, clip: EngineClip, load_s: float
) -> str:
    megapixel_frames = spec.width * spec.height * spec.num_frames / 1e6
    step_s = clip.denoise_s / clip.steps
    lines = [
        f"{recipe.name} on {engine.hardware.device}: {spec.width}x{spec.height}, {spec.num_frames} frames,"
        f" {clip.steps} steps",
        f"load {load_s:.1f} s, text {clip.text_s:.2f} s, {step_s:.3f} s a step, decode {clip.decode_s:.2f} s",
    ]
    if torch.cuda.is_available():
        peak_gb = torch.cuda.max_memory_reserved() / _GB
        lines.append(f"memory {peak_gb:.1f} GB at the most, so memory_gb={peak_gb * 1.05:.0f}")
    lines.append(
        f"cost=Cost(base_gpu_s={clip.text_s + clip.decode_s:.3g},"
        f" gpu_s_per_mpxf_step={step_s / megapixel_frames:.3g}, load_s={load_s:.3g},"
        f" credits_per_gpu_s={recipe.cost.credits_per_gpu_s:g}),"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
