"""What a running studio says of a clip's time before it is sent, beside the time it took.

    ZOETROPE_API_KEY=... .venv/bin/python tools/bench_eta.py http://127.0.0.1:8000 --rounds 20 --steps 16,100,400

One clip at a time, the settings in turn. Prints JSON: for each setting the announced p50 and p90 and the seconds from
the request to the released clip, in order, and how often the p90 held.
"""

import argparse
import json
import os
import time

import httpx

PATIENCE_S = 600.0
PROMPT = "a red circle moving right on a blue background"


def _once(client: httpx.Client, form: dict[str, str]) -> tuple[float, float, float]:
    """Announced p50 and p90, and what it took, in seconds."""
    quote = client.post("/v1/videos/quote", json=form).raise_for_status().json()
    began_s = time.monotonic()
    video = client.post("/v1/videos", json=form).raise_for_status().json()
    while video["status"] not in {"completed", "failed"}:
        if time.monotonic() - began_s > PATIENCE_S:
            raise SystemExit(f"{video['id']} is not done after {PATIENCE_S:.0f} s")
        time.sleep(0.1)
        video = client.get(f"/v1/videos/{video['id']}").raise_for_status().json()
    if video["status"] == "failed":
        raise SystemExit(f"{video['id']} failed: {video['error']}")
    eta = quote["eta"] or {"p50_seconds": float("nan"), "p90_seconds": float("nan")}
    return eta["p50_seconds"], eta["p90_seconds"], time.monotonic() - began_s


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", default="16,100,400")
    chosen = parser.parse_args()
    settings = chosen.steps.split(",")
    rows: dict[str, list[tuple[float, float, float]]] = {steps: [] for steps in settings}
    headers = {"Authorization": f"Bearer {os.environ['ZOETROPE_API_KEY']}"}
    with httpx.Client(base_url=chosen.address, headers=headers, timeout=60) as client:
        for number in range(chosen.rounds):
            for steps in settings:
                form = {"prompt": PROMPT, "num_inference_steps": steps, "seed": str(number)}
                rows[steps].append(_once(client, form))
    said = {
        steps: {
            "p90_held": sum(took <= p90 for _p50, p90, took in found) / len(found),
            "p50_p90_took_s": [[round(value, 1) for value in row] for row in found],
        }
        for steps, found in rows.items()
    }
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
