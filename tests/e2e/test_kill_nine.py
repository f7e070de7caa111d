"""kill -9 of each process in turn during ten jobs: ten completed, once each, charged once each."""

import asyncio
import os
import signal
from typing import Any

import asyncpg
import httpx

from tests.e2e.running_studio import RunningStudio, wait_for

JOBS = 10
STEPS = 60
PARTS = ("worker", "control", "web", "moderator", "valkey", "postgres")


def _all_jobs(client: httpx.Client) -> list[dict[str, Any]] | None:
    try:
        answer = client.get("/v1/videos", params={"limit": 50}, timeout=10)
    except httpx.HTTPError:
        return None
    return list(answer.json()["data"]) if answer.status_code == 200 else None


def _submit(client: httpx.Client, number: int) -> str:
    """Post until it is answered; the key makes that one job."""

    def post() -> str | None:
        try:
            answer = client.post(
                "/v1/videos",
                data={
                    "prompt": "a red circle moving right on a blue background",
                    "seed": str(number),
                    "num_inference_steps": str(STEPS),
                },
                headers={"Idempotency-Key": f"job-{number}"},
                timeout=10,
            )
        except httpx.HTTPError:
            return None
        return str(answer.json()["id"]) if answer.status_code == 200 else None

    return wait_for(f"job {number} to be accepted", post, 60)


async def _facts(url: str) -> dict[str, Any]:
    connection = await asyncpg.connect(url)
    try:
        return {
            "charges": await connection.fetchval("SELECT count(*) FROM ledger_entries WHERE book = 'spent'"),
            "charged": await connection.fetchval(
                "SELECT sum(amount) FROM ledger_entries WHERE book = 'spent'"
            ),
            "unbalanced": await connection.fetchval(
                "SELECT count(*) FROM (SELECT 1 FROM ledger_entries GROUP BY transaction_id HAVING sum(amount) <> 0) t"
            ),
            "open_holds": await connection.fetchval("SELECT count(*) FROM holds WHERE state = 'open'"),
            "finished": await connection.fetchval("SELECT count(*) FROM attempts WHERE state = 'done'"),
        }
    finally:
        await connection.close()


def test_ten_jobs_survive_a_kill_of_every_process(own_studio: RunningStudio) -> None:
    studio = own_studio
    key = studio.creator_with_key("ten@example.org")
    progress_seen: dict[str, int] = {}
    with httpx.Client(base_url=studio.url, headers={"Authorization": f"Bearer {key}"}) as client:
        ids = [_submit(client, number) for number in range(JOBS)]
        killed: list[str] = []

        def watch() -> list[dict[str, Any]] | None:
            jobs = _all_jobs(client)
            if jobs is None:
                return None
            for job in jobs:
                before = progress_seen.get(job["id"], 0)
                assert job["progress"] >= before, f"progress of {job['id']} fell"
                progress_seen[job["id"]] = job["progress"]
            done = sum(job["status"] == "completed" for job in jobs)
            # One part is killed for each clip that got done, so that each kill meets running work.
            if len(killed) < len(PARTS) and done >= len(killed):
                part = PARTS[len(killed)]
                os.kill(studio.pid_of(part), signal.SIGKILL)
                killed.append(part)
            return jobs if done == JOBS else None

        jobs = wait_for("ten clips", watch, 300)
        assert killed == list(PARTS)
        assert sorted(job["id"] for job in jobs) == sorted(ids)
        facts = asyncio.run(_facts(studio.database_url()))
        prices = {job["cost"]["quoted"] for job in jobs}
        assert facts == {
            "charges": JOBS,
            "charged": JOBS * prices.pop(),
            "unbalanced": 0,
            "open_holds": 0,
            "finished": JOBS,
        }
        for job in jobs:
            clip = client.get(f"/v1/videos/{job['id']}/content", follow_redirects=True)
            assert clip.content[4:8] == b"ftyp"
