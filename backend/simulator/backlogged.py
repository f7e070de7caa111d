"""A trace in which every tier asks for more than it can have, for hours: what shares are measured on."""

import random

from backend.simulator.trace import TraceJob

TIERS = ("free", "plus", "pro")
ARRIVE_WITHIN_S = 7200.0
_JOBS = 6000
_ACCOUNTS = 150
_MODELS = 20


def backlogged(seed: int = 1) -> list[TraceJob]:
    """As much work of each tier, in two hours, for 8 GPUs that need five; popularity of models by rank."""
    rng = random.Random(seed)
    jobs = []
    for index in range(_JOBS):
        tier = TIERS[index % len(TIERS)]
        model = rng.choices(range(_MODELS), [1 / (rank + 1) for rank in range(_MODELS)])[0]
        jobs.append(
            TraceJob(
                arrival_s=rng.random() * ARRIVE_WITHIN_S,
                user=f"{tier}{rng.randrange(_ACCOUNTS)}",
                tier=tier,
                model=f"m{model}",
                gpu_s=rng.lognormvariate(3.1, 0.6),
                vram_gb=24,
            )
        )
    return sorted(jobs, key=lambda job: job.arrival_s)
