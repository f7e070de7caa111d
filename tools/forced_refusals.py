"""What the fair policy refuses on the shipped trace, beside what capacity forces (`backend/simulator/forced.py`).

`.venv/bin/python tools/forced_refusals.py --seeds 1,2,3` prints a row a seed; a minute of one core each.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backend.domain.shares import TierShare
from backend.domain.tiers import TIERS
from backend.simulator.forced import forced_gpu_s
from backend.simulator.generate import TraceOptions, generate
from backend.simulator.policies import PolicyName
from backend.simulator.run import Fleet, Simulation

GPUS = 8
SWITCH_S = 22.7


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1", help="such as 1,2,3")
    seeds = [int(seed) for seed in parser.parse_args().seeds.split(",")]
    print("seed  refused GPU-s  forced if all jobs keep ceilings  forced if only first jobs do")
    for seed in seeds:
        jobs = generate(TraceOptions(seed=seed, gpus=GPUS, load=0.45))
        shares = {
            name: TierShare(
                weight=TIERS[name].weight,
                floor=TIERS[name].floor,
                ceiling_s=TIERS[name].ceiling.total_seconds(),
            )
            for name in sorted({job.tier for job in jobs})
        }
        fleet = Fleet(memory_gb=[80.0] * GPUS, switch_s=SWITCH_S)
        outcome = Simulation(jobs, fleet, policy=PolicyName.FAIR, shares=shares, refuse=True, seed=1).run()
        capacity = GPUS * outcome.useful_s / (outcome.useful_s + outcome.switch_s)
        refused = sum(fate.job.gpu_s for fate in outcome.fates if fate.refused)
        every = forced_gpu_s([fate.job for fate in outcome.fates], shares, capacity)
        firsts = forced_gpu_s([fate.job for fate in outcome.fates if fate.inside_share], shares, capacity)
        print(f"{seed:>4}  {refused:>13,.0f}  {every:>32,.0f}  {firsts:>28,.0f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
