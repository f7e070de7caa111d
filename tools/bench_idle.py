"""What each process of the studio that runs now takes of a core, while nobody asks anything of it.

Run beside `make run`: .venv/bin/python tools/bench_idle.py [SECONDS]
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from backend.runtime import read_runtime
from backend.settings import load_settings


def cpu_s(processes: list[psutil.Process]) -> float:
    """Seconds of processor time that they have taken so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main() -> int:
    """Print a line a part."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    runtime = read_runtime(load_settings().data_dir)
    if runtime is None or not runtime.is_running():
        print("no studio runs here: start `make run` first", file=sys.stderr)
        return 1
    parts = {}
    for name, mark in runtime.parts.items():
        if (process := mark.process()) is not None:
            parts[name] = [process, *process.children(recursive=True)]
    before = {name: cpu_s(processes) for name, processes in parts.items()}
    time.sleep(seconds)
    for name, processes in parts.items():
        print(f"{name:<10} {100 * (cpu_s(processes) - before[name]) / seconds:5.2f} % of a core")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
