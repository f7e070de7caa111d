"""The only arithmetic about price. Depends on recipe, size, frames and steps; never on wall time."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """The part of a recipe that pricing reads. GPU-seconds on the recipe's reference card."""

    base_gpu_s: float
    gpu_s_per_mpxf_step: float
    credits_per_gpu_s: float


def gpu_seconds(cost: CostModel, *, width: int, height: int, num_frames: int, steps: int) -> float:
    """Expected work of one clip in GPU-seconds."""
    megapixel_frames = width * height * num_frames / 1e6
    return cost.base_gpu_s + cost.gpu_s_per_mpxf_step * megapixel_frames * steps


def quote(cost: CostModel, *, width: int, height: int, num_frames: int, steps: int) -> int:
    """Price in credits, at least 1."""
    work = gpu_seconds(cost, width=width, height=height, num_frames=num_frames, steps=steps)
    return max(1, ceil(round(work * cost.credits_per_gpu_s, 6)))


def partial_charge(quoted: int, *, steps_done: int, steps: int) -> int:
    """Credits for a job cancelled in mid-run: its share of the quote by steps, rounded down, within 0..quoted."""
    if steps <= 0:
        return 0
    return quoted * min(max(steps_done, 0), steps) // steps
