"""How long a new leader takes to know all that waits: a real control process over rows in a real Postgres.

Run: .venv/bin/python tools/bench_leader_start.py [JOBS] [ACCOUNTS]   (needs nothing running; minutes to fill the rows)

While it rebuilds, eight workers say every second that they live, and someone asks the leader every 50 ms, so that a
stopped event loop shows. Prints seconds from the claim of the term to a whole queue, the peak of its memory, the
longest wait for an answer, and the least that was left of its term.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import asyncpg
import psutil
from redis.asyncio import Redis

from backend.contracts import Hardware, Heartbeat, Mailbox
from backend.contracts.wire import UPLINK_FIELD, WORKERS_KEY
from backend.db.migrate import upgrade
from backend.embedded_postgres import EmbeddedPostgres
from backend.embedded_valkey import EmbeddedValkey
from backend.ending import end_tasks
from backend.wakeups import ASK_KEY

WORKERS = 8
PATIENCE_S = 300.0
FILL = (
    "INSERT INTO users (id, email) VALUES ('user_0', 'bench@example.org')",
    """
    INSERT INTO accounts (id, tier)
    SELECT 'acct_' || lpad(n::text, 26, '0'), (ARRAY['free', 'plus', 'pro'])[1 + n % 3]
    FROM generate_series(0, {accounts} - 1) AS n
    """,
    """
    INSERT INTO jobs (id, account_id, user_id, tier, recipe, recipe_revision, prompt, seconds, input_verdict, gpu_s,
                      quoted, steps, created_at)
    SELECT 'video_' || lpad(n::text, 26, '0'), 'acct_' || lpad(owner::text, 26, '0'), 'user_0',
           (ARRAY['free', 'plus', 'pro'])[1 + owner % 3], 'mini', '1', '', '4', 'allow', 5 + random() * 80, 10, 30,
           now() - interval '2 hours' + n * interval '7 milliseconds'
    FROM (SELECT n, floor(random() * {accounts})::integer AS owner FROM generate_series(1, {jobs}) AS n) AS each
    """,
    """
    INSERT INTO workers (id, memory_gb, recipes, resident) SELECT 'w' || n, 24, '{{mini}}', '{{}}'
    FROM generate_series(0, {workers} - 1) AS n
    """,
    "VACUUM ANALYZE jobs",
)


async def fill(url: str, jobs: int, accounts: int) -> None:
    """The rows, as submissions would have left them."""
    connection = await asyncpg.connect(url)
    await connection.execute("SET synchronous_commit = off; SELECT setseed(0.5)")
    for statement in FILL:
        await connection.execute(
            statement.format(jobs=jobs, accounts=accounts, workers=WORKERS), timeout=1200
        )
    await connection.close()


async def be_workers(redis: Redis) -> None:
    """Heartbeats and nothing else."""
    seq = 0
    while True:
        seq += 1
        for number in range(WORKERS):
            beat = Heartbeat(
                worker_id=f"w{number}",
                boot_id="b",
                seq=seq,
                version="bench",
                hardware=Hardware(hardware_class="bench", device="none", memory_gb=24),
                recipes=("mini",),
            )
            mailbox = Mailbox(beat.worker_id)
            await cast("Awaitable[int]", redis.sadd(WORKERS_KEY, beat.worker_id))
            await redis.xadd(mailbox.uplink, {UPLINK_FIELD: beat.model_dump_json()}, maxlen=100)
        await asyncio.sleep(1)


async def ask_for_ever(redis: Redis, took_s: list[float]) -> None:
    """Questions that cost the leader nothing; how long each answer took."""
    number = 0
    while True:
        number += 1
        reply = f"zoetrope:control:reply:bench{number}"
        asked = time.perf_counter()
        question = json.dumps({"ask": "places", "job_ids": [], "reply": reply})
        await cast("Awaitable[int]", redis.rpush(ASK_KEY, question))
        if await cast("Awaitable[object]", redis.blpop([reply], timeout=5)) is not None:
            took_s.append(time.perf_counter() - asked)
        await asyncio.sleep(0.05)


async def watch_term(url: str, left_s: list[float]) -> None:
    """What is left of the leader's term, ten times a second."""
    connection = await asyncpg.connect(url)
    while True:
        left = "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM leader_terms"
        found = await connection.fetchval(left)
        if found is not None:
            left_s.append(found)
        await asyncio.sleep(0.1)


@contextmanager
def control(folder: Path, database_url: str, redis_url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A control process that logs into the folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZOETROPE_")} | {
        "ZOETROPE_DATA_DIR": str(folder / "data"),
        "ZOETROPE_DATABASE_URL": database_url,
        "ZOETROPE_REDIS_URL": redis_url,
    }
    with (folder / "control.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.control"], env=environment, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(folder: Path, event: str) -> float | None:
    """When the control process logged it, in seconds since 1970."""
    for line in (folder / "control.log").read_text().splitlines():
        if f'"{event}"' in line:
            return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
    return None


async def until_said(folder: Path, event: str, process: "subprocess.Popen[bytes]") -> float:
    """`said`, once it was."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := said(folder, event)) is None:
            if process.poll() is not None:
                raise SystemExit(f"the control process ended before {event}")
            await asyncio.sleep(0.1)
    return found


def peak_mib(pid: int) -> float:
    """The most memory that a process had at any time."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


async def measure(folder: Path, database_url: str, redis_url: str) -> None:
    """One control process, from its start to a whole queue."""
    redis = Redis.from_url(redis_url, decode_responses=True)
    took_s: list[float] = []
    left_s: list[float] = []
    beside = [
        asyncio.create_task(be_workers(redis)),
        asyncio.create_task(ask_for_ever(redis, took_s)),
        asyncio.create_task(watch_term(database_url, left_s)),
    ]
    try:
        with control(folder, database_url, redis_url) as process:
            led = await until_said(folder, "leader.leads", process)
            took_s.clear()
            left_s.clear()
            whole = await until_said(folder, "dispatch.restored", process)
            cpu_s = sum(psutil.Process(process.pid).cpu_times()[:2])
            print(
                f"whole after {whole - led:.1f} s ({cpu_s:.1f} s of processor time since its start),"
                f" peak {peak_mib(process.pid):.0f} MiB"
            )
        answers = sorted(took_s)
        print(
            f"answers meanwhile: {len(answers)}, p50 {answers[len(answers) // 2] * 1000:.0f} ms,"
            f" longest {answers[-1] * 1000:.0f} ms; least left of the term {min(left_s):.1f} s"
        )
    finally:
        for task in beside:
            if task.done() and not task.cancelled() and task.exception():
                print(f"beside it: {task.exception()!r}", file=sys.stderr)
        await end_tasks(*beside, within_s=5)
        await redis.aclose()


def main(jobs: int, accounts: int) -> None:
    """On a Postgres and a Valkey of its own."""
    with tempfile.TemporaryDirectory(prefix="zb-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = EmbeddedPostgres(folder / "postgres", log=folder / "postgres.log", durable=False)
        valkey = EmbeddedValkey(folder / "valkey", sockets=folder / "run", log=folder / "valkey.log")
        try:
            url = postgres.start()
            upgrade(url)
            began = time.monotonic()
            asyncio.run(fill(url, jobs, accounts))
            print(f"{jobs} jobs of {accounts} accounts written in {time.monotonic() - began:.0f} s")
            asyncio.run(measure(folder, url, valkey.start()))
        finally:
            valkey.stop()
            postgres.stop()


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [1_000_000, 10_000][len(arguments) :]))
