"""A GPU host's own Valkey user: it can do a worker's work, and nothing else."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis as sync_redis
from redis.exceptions import AuthenticationError, NoPermissionError

from backend.contracts import Mailbox, Outcome
from backend.contracts.arq_queue import enqueue, open_queues
from backend.contracts.wire import WORKERS_KEY
from backend.embedded_valkey import EmbeddedValkey
from backend.services.add_worker import WorkerPass, make_pass
from tests.integration.worker_rig import (
    WORKER,
    ControlPlane,
    ObjectServer,
    ValkeyProcess,
    make_order,
    start_worker_process,
)

Zoetrope = Callable[..., "subprocess.CompletedProcess[str]"]


def install(url: str, made: WorkerPass) -> None:
    client = sync_redis.Redis.from_url(url)
    client.execute_command("ACL", "SETUSER", made.user, *made.rules)
    client.close()


def url_as(url: str, made: WorkerPass) -> str:
    return url.replace("unix://", f"unix://{made.user}:{made.password}@")


@pytest.fixture
def fenced(valkey_process: ValkeyProcess) -> Iterator[sync_redis.Redis]:
    made = make_pass(WORKER)
    install(valkey_process.url, made)
    client = sync_redis.Redis.from_url(url_as(valkey_process.url, made))
    yield client
    client.close()


async def test_a_fenced_worker_registers_takes_an_order_hears_wishes_and_reports(
    valkey_process: ValkeyProcess, control: ControlPlane, server: ObjectServer
) -> None:
    made = make_pass(WORKER)
    install(valkey_process.url, made)
    process = start_worker_process(url_as(valkey_process.url, made), server, ZOETROPE_FAKE_STEP_S="0.05")
    try:
        done, again = make_order(server, "fenced"), make_order(server, "fenced-again")
        await control.order(done)
        assert (await control.report_of(done)).outcome is Outcome.DONE
        await control.order(again)
        assert (await control.report_of(again)).outcome is Outcome.DONE
    finally:
        process.kill()
        process.wait()
    operator = sync_redis.Redis.from_url(valkey_process.url)
    assert operator.smembers(WORKERS_KEY) == set(), "who was let in, the database says"
    assert operator.keys("arq:*") == [], "every order was taken off the queue"
    operator.close()


async def test_it_reads_nothing_of_other_workers_and_of_the_control_plane(
    valkey_process: ValkeyProcess, fenced: sync_redis.Redis
) -> None:
    other = Mailbox("w10")
    queues = open_queues(valkey_process.url)
    await enqueue(queues, other.orders, "run_order", {"prompt": "not yours"}, job_id="att-1")
    await enqueue(queues, "zoetrope:control:steps", "take_step", {}, job_id="step:1")
    await queues.set(other.wishes, "{}")
    await queues.xadd(other.uplink, {"m": "{}"})
    await queues.sadd(WORKERS_KEY, "w10")
    keys = [key.decode() for key in await queues.keys("*")]
    await queues.aclose()
    assert len(keys) == 7
    for key in keys:
        for command in ("GET", "EXISTS", "DEL", "ZCARD"):
            with pytest.raises(NoPermissionError):
                fenced.execute_command(command, key)
    for command in (
        ["ZRANGEBYSCORE", other.orders, "-inf", "+inf"],
        ["XADD", other.uplink, "*", "m", "forged"],
        ["ZADD", other.orders, "1", "x"],
        ["SMEMBERS", WORKERS_KEY],
        ["SADD", WORKERS_KEY, WORKER],
        ["SREM", WORKERS_KEY, "w10"],
        ["SUBSCRIBE", other.wishes],
        ["SUBSCRIBE", "zoetrope:live"],
    ):
        with pytest.raises(NoPermissionError):
            fenced.execute_command(*command)


@pytest.mark.parametrize(
    "command",
    [
        "EVAL 'return 1' 0", "FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET maxmemory 1", "KEYS *", "SCAN 0",
        "ACL LIST", "ACL SETUSER x on", "MONITOR", "CLIENT LIST", "CLIENT KILL ID 1", "SHUTDOWN", "SAVE",
        "SCRIPT LOAD x", "PUBLISH zoetrope:live x", "RANDOMKEY", "MEMORY USAGE x", "REPLICAOF NO ONE",
    ],
)  # fmt: skip
def test_it_runs_nothing_that_reaches_further(fenced: sync_redis.Redis, command: str) -> None:
    with pytest.raises(NoPermissionError):
        fenced.execute_command(*command.split(" "))


def test_a_name_that_would_widen_its_keys_is_refused() -> None:
    from backend.domain.errors import InvalidField

    for name in ("*", "w1:orders", "w?", "", "w 1", "../x"):
        with pytest.raises(InvalidField):
            make_pass(name)


@pytest.fixture
def zoetrope(
    short_tmp: Path, repository: Path, studio_environment: Callable[..., dict[str, str]], pg_url: str
) -> Zoetrope:
    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "backend.cli", "workers", *arguments],
            cwd=repository,
            env=studio_environment(data_dir=str(short_tmp / "data"), database_url=pg_url, **settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_the_command_prints_what_the_gpu_host_is_told_and_the_user_outlives_valkey(
    zoetrope: Zoetrope, short_tmp: Path
) -> None:
    valkey = EmbeddedValkey(short_tmp / "valkey", sockets=short_tmp / "run", log=short_tmp / "valkey.log")
    url = valkey.start()
    try:
        added = zoetrope("add", "gpu-1", redis_url=url, public_url="https://studio.example.org")
        assert added.returncode == 0, added.stderr
        told = dict(line.split("=", 1) for line in added.stdout.splitlines())
        assert told["ZOETROPE_WORKER_ID"] == "gpu-1"
        assert told["ZOETROPE_CONTROL_URL"] == "https://studio.example.org"
        assert "listens on a socket of this machine alone" in added.stderr
        assert "restarts" not in added.stderr
        assert urlsplit(told["ZOETROPE_REDIS_URL"]).username == "zoetrope-worker-gpu-1"
        valkey.stop()
        valkey.start()
        client = sync_redis.Redis.from_url(told["ZOETROPE_REDIS_URL"])
        assert client.get(Mailbox("gpu-1").wishes) is None
        with pytest.raises(NoPermissionError):
            client.get(Mailbox("gpu-2").wishes)
        client.close()

        removed = zoetrope("remove", "gpu-1", redis_url=url)
        assert removed.returncode == 0, removed.stderr
        with pytest.raises(AuthenticationError):
            sync_redis.Redis.from_url(told["ZOETROPE_REDIS_URL"]).ping()
        assert "no user" in zoetrope("remove", "gpu-1", redis_url=url).stderr
    finally:
        valkey.stop()


def test_a_printed_line_is_one_that_an_acl_file_takes(zoetrope: Zoetrope, short_tmp: Path) -> None:
    printed = zoetrope("add", "gpu-2", "--print", redis_url="redis://valkey.example.org:6379/0")
    assert printed.returncode == 0, printed.stderr
    told = dict(line.split("=", 1) for line in printed.stdout.splitlines() if line.startswith("ZOETROPE_"))
    assert "no TLS" in printed.stderr
    user, password = (
        urlsplit(told["ZOETROPE_REDIS_URL"]).username,
        urlsplit(told["ZOETROPE_REDIS_URL"]).password,
    )
    folder = short_tmp / "valkey"
    folder.mkdir()
    (folder / "users.acl").write_text(printed.stdout.splitlines()[-1] + "\n")
    valkey = EmbeddedValkey(folder, sockets=short_tmp / "run", log=short_tmp / "valkey.log")
    url = valkey.start()
    try:
        client = sync_redis.Redis.from_url(url.replace("unix://", f"unix://{user}:{password}@"))
        assert client.get(Mailbox("gpu-2").wishes) is None
        client.close()
    finally:
        valkey.stop()
