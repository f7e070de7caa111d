"""From the commit of a submission to its start on a worker, in an idle studio: real processes, the fake engine.

Run: .venv/bin/python tools/bench_start_latency.py [JOBS]   (needs nothing running)

Jobs come at random moments, one at a time; each is cancelled when it has started. The commit is when Postgres tells of
it, the start what the worker says of itself and the control plane records. Both end points are by one machine's clock.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import asyncpg
from sqlalchemy import text

from backend.auth.principal import Principal, Role, Scope
from backend.db.migrate import upgrade
from backend.db.models import Account, Membership, User
from backend.db.outbox import CHANNEL
from backend.db.repositories import ledger
from backend.domain.credits import GrantSource
from backend.embedded_postgres import EmbeddedPostgres
from backend.embedded_valkey import EmbeddedValkey
from backend.ids import IdPrefix, new_id
from backend.services.cancel_generation import cancel_generation
from backend.services.generation_request import GenerationRequest
from backend.services.submit_generation import submit_generation
from backend.settings import Settings
from backend.studio import Studio, open_studio

PATIENCE_S = 60.0
LOOK_EVERY_S = 0.02
STAGES = ("commit to order", "order to worker", "worker to start", "commit to start")


async def make_creator(studio: Studio) -> Principal:
    """Someone whose tier and credits are never in the way."""
    user_id, account_id = new_id(IdPrefix.USER), new_id(IdPrefix.ACCOUNT)
    async with studio.db.transaction() as session:
        session.add(User(id=user_id, email="bench@example.org", role=Role.CREATOR.value))
        session.add(Account(id=account_id, tier="internal"))
        await session.flush()
        session.add(Membership(account_id=account_id, user_id=user_id))
        await ledger.add_grant(
            session, account_id=account_id, source=GrantSource.ADMIN, amount=1_000_000, expires_at=None
        )
    return Principal(
        user_id=user_id,
        account_id=account_id,
        role=Role.CREATOR,
        tier="internal",
        scopes=frozenset(Scope),
    )


async def found(studio: Studio, query: str, **values: object) -> list[tuple[float, ...]]:
    """Rows of a query."""
    async with studio.db.single() as session:
        return [tuple(row) for row in await (await session.connection()).execute(text(query), values)]


async def until_found(studio: Studio, query: str, **values: object) -> tuple[float, ...]:
    """The first row of a query that has one at last."""
    for _ in range(round(PATIENCE_S / LOOK_EVERY_S)):
        if rows := await found(studio, query, **values):
            return rows[0]
        await asyncio.sleep(LOOK_EVERY_S)
    raise SystemExit(f"waited {PATIENCE_S:g} s in vain for {query}")


async def measure(studio: Studio, worker_log: Path, jobs: int) -> None:
    """So many submissions; prints what each stage took."""
    creator = await make_creator(studio)
    committed: asyncio.Queue[float] = asyncio.Queue()
    listening = await asyncpg.connect(studio.db.url)

    def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == "dispatch":
            committed.put_nowait(time.time())

    await listening.add_listener(CHANNEL, heard)
    await until_found(studio, "SELECT 1 FROM workers WHERE heartbeat_at > now() - interval '2 seconds'")
    times: dict[str, tuple[float, float, float]] = {}
    for _ in range(jobs):
        await asyncio.sleep(random.uniform(0.2, 0.5))
        while not committed.empty():
            committed.get_nowait()
        job = await submit_generation(studio, creator, GenerationRequest(prompt="a red circle"))
        commit = await committed.get()
        attempt_id, ordered, started = await until_found(
            studio,
            "SELECT id, extract(epoch FROM ordered_at)::float8, extract(epoch FROM started_at)::float8"
            " FROM attempts WHERE job_id = :id AND started_at IS NOT NULL",
            id=job.id,
        )
        times[str(attempt_id)] = (commit, ordered, started)
        await cancel_generation(studio, creator, job.id)
        await until_found(
            studio, "SELECT 1 FROM attempts WHERE id = :id AND ended_at IS NOT NULL", id=attempt_id
        )
    await listening.close()
    show(times, received(worker_log))


def received(worker_log: Path) -> dict[str, float]:
    """When the worker had each order, by attempt."""
    lines = [json.loads(line) for line in worker_log.read_text().splitlines() if '"attempt.received"' in line]
    return {line["attempt"]: datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines}


def show(times: dict[str, tuple[float, float, float]], had: dict[str, float]) -> None:
    """A line a stage."""
    rows = [
        (ordered - commit, had[name] - ordered, started - had[name], started - commit)
        for name, (commit, ordered, started) in times.items()
    ]
    for stage, values in zip(STAGES, zip(*rows, strict=True), strict=True):
        centiles = statistics.quantiles([1000 * value for value in values], n=100)
        print(f"{stage:<16} p50 {centiles[49]:6.1f} ms  p95 {centiles[94]:6.1f} ms")


@contextmanager
def part(module: str, folder: Path, **settings: str) -> Iterator[Path]:
    """A process of the studio; gives its log."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZOETROPE_")}
    log = folder / f"{module}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment | {f"ZOETROPE_{name.upper()}": value for name, value in settings.items()},
            stdout=out,
            stderr=out,
        )
    try:
        yield log
    finally:
        process.kill()
        process.wait()


async def run(settings: Settings, worker_log: Path, jobs: int) -> None:
    """With a studio of this process's own."""
    studio = open_studio(settings)
    try:
        await measure(studio, worker_log, jobs)
    finally:
        await studio.close()


def main(jobs: int) -> None:
    """On a Postgres and a Valkey of its own."""
    with tempfile.TemporaryDirectory(prefix="zb-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = EmbeddedPostgres(folder / "postgres", log=folder / "postgres.log")
        valkey = EmbeddedValkey(folder / "valkey", sockets=folder / "run", log=folder / "valkey.log")
        try:
            shared = {"data_dir": str(folder / "data"), "database_url": postgres.start()}
            upgrade(shared["database_url"])
            shared["redis_url"] = valkey.start()
            alone = {"redis_url": shared["redis_url"], "control_url": "http://127.0.0.1:9", "engine": "fake"}
            with (
                part("jobs.control", folder, **shared),
                part("gpu_worker.main", folder, **alone, fake_step_s="0.1") as worker_log,
            ):
                asyncio.run(run(Settings.model_validate(shared), worker_log, jobs))
        finally:
            valkey.stop()
            postgres.stop()


if __name__ == "__main__":
    random.seed(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
