import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
import redis

from backend.child_process import is_alive
from backend.data_dir import locked, prepare_data_dir, socket_folder
from backend.embedded import borrowed_services
from backend.embedded_postgres import EmbeddedPostgres
from backend.embedded_valkey import EmbeddedValkey, find_binary
from backend.operator_errors import AlreadyRunningError, BadSettingError, DataDirError, EmbeddedPartError
from backend.settings import Settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run Postgres as somebody else")

PARENT_THAT_IS_KILLED = """
import os, sys
from pathlib import Path
from urllib.parse import urlsplit
from backend.embedded_postgres import EmbeddedPostgres
from backend.embedded_valkey import EmbeddedValkey
folder = Path(sys.argv[1])
postgres = EmbeddedPostgres(folder / "postgres", log=folder / "postgres.log", durable=False)
valkey = EmbeddedValkey(folder / "valkey", sockets=folder / "run", log=folder / "valkey.log")
postgres.start(), valkey.start()
print(postgres.process.pid, valkey.process.pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def server(short_tmp: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(short_tmp / "postgres", log=short_tmp / "postgres.log", durable=False)
    yield server
    server.stop()


@pytest.fixture
def valkey(short_tmp: Path) -> Iterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(short_tmp / "valkey", sockets=short_tmp / "run", log=short_tmp / "valkey.log")
    yield valkey
    valkey.stop()


async def execute(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def wait_gone(*pids: int, timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) and is_alive(psutil.Process(pid)) for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError(f"still running: {pids}")


async def test_postgres_keeps_what_was_written_over_a_restart(server: EmbeddedPostgres) -> None:
    url = server.start()
    await execute(url, "CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()
    assert await execute(server.start(), "SELECT n FROM kept") == 7
    assert await execute(server.url, "SHOW server_version_num") >= "180000"  # type: ignore[operator]


async def test_a_start_logs_nothing_fatal(server: EmbeddedPostgres, short_tmp: Path) -> None:
    assert await execute(server.start(), "SELECT 1") == 1
    assert server.answers()
    server.stop()
    assert not server.answers()
    assert await execute(server.start(), "SELECT 1") == 1
    assert "FATAL" not in (short_tmp / "postgres.log").read_text()


async def test_the_studio_is_no_superuser_of_its_database(server: EmbeddedPostgres) -> None:
    assert (
        await execute(server.start(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    )


def test_sockets_and_data_are_closed_to_others(
    server: EmbeddedPostgres, valkey: EmbeddedValkey, short_tmp: Path
) -> None:
    server.start()
    valkey.start()
    for folder in (
        short_tmp / "postgres" / "run",
        short_tmp / "postgres" / "data",
        short_tmp / "run",
        short_tmp / "valkey",
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_nothing_listens_on_tcp(server: EmbeddedPostgres, valkey: EmbeddedValkey) -> None:
    server.start()
    valkey.start()
    for process in (server.process, valkey.process):
        assert process is not None
        assert psutil.Process(process.pid).net_connections(kind="inet") == []


@as_root
def test_root_runs_postgres_as_somebody_else(server: EmbeddedPostgres) -> None:
    server.start()
    assert server.process is not None
    assert psutil.Process(server.process.pid).uids().effective != 0


@as_root
def test_a_private_home_keeps_its_mode_and_the_data_go_where_postgres_may_go(short_tmp: Path) -> None:
    home = short_tmp / "home"
    home.mkdir(mode=0o700)
    server = EmbeddedPostgres(home / "postgres", log=home / "postgres.log", durable=False)
    try:
        server.start()
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE(short_tmp.stat().st_mode) == 0o711
        assert (home / "postgres").is_symlink()
        data = (home / "postgres").resolve()
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        server.stop()
        assert server.start(), "the second start finds the same place"
        assert (home / "postgres").resolve() == data
    finally:
        server.stop()
        shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)


@as_root
def test_an_unprivileged_user_starts_it_with_nothing_of_roots(short_tmp: Path, repository: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    folder = short_tmp / "nobodys"
    folder.mkdir()
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    wheel = EmbeddedPostgres(short_tmp / "x", log=short_tmp / "x.log").binaries.parent
    if not os.access("/usr/bin/python3", os.X_OK) or not _passable(wheel, nobody.pw_uid):
        pytest.skip("the checkout lies in a private home")
    run = [str(wheel / "bin" / "initdb"), "--version"]
    assert subprocess.run(run, user=nobody.pw_uid, cwd="/", check=False, capture_output=True).returncode == 0


def _passable(path: Path, uid: int) -> bool:
    done = subprocess.run(["test", "-x", str(path / "bin" / "postgres")], user=uid, cwd="/", check=False)
    return done.returncode == 0


def test_servers_die_with_a_killed_parent_and_the_next_start_takes_over(
    short_tmp: Path, repository: Path
) -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PARENT_THAT_IS_KILLED, str(short_tmp)],
            cwd=repository, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
        if sys.platform == "linux":
            wait_gone(*map(int, done.stdout.split()))


async def test_an_orphan_that_still_runs_is_ended_first(server: EmbeddedPostgres, short_tmp: Path) -> None:
    await execute(server.start(), "CREATE TABLE kept AS SELECT 1 AS n")
    assert server.process is not None
    second = EmbeddedPostgres(short_tmp / "postgres", log=short_tmp / "postgres.log", durable=False)
    try:
        assert await execute(second.start(), "SELECT n FROM kept") == 1
        assert server.process.wait(5) is not None
    finally:
        second.stop()


async def test_a_stale_pid_file_that_names_another_process_is_no_obstacle(
    server: EmbeddedPostgres, short_tmp: Path
) -> None:
    server.start()
    server.stop()
    pid_file = short_tmp / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n0\n5432\n{short_tmp}\n\n")
    assert await execute(server.start(), "SELECT 1") == 1


async def test_a_start_killed_halfway_through_the_first_making_begins_again(
    server: EmbeddedPostgres, short_tmp: Path
) -> None:
    half = short_tmp / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert await execute(server.start(), "SELECT 1") == 1


def test_valkey_keeps_its_keys_over_a_restart_and_a_kill(valkey: EmbeddedValkey) -> None:
    client = redis.Redis.from_url(valkey.start())
    client.set("kept", "yes")
    client.execute_command("WAITAOF", 1, 0, 2000)
    assert valkey.process is not None
    valkey.process.kill()
    valkey.process.wait()
    assert redis.Redis.from_url(valkey.start()).get("kept") == b"yes"


def test_valkey_files_that_cannot_be_read_are_set_aside(valkey: EmbeddedValkey, short_tmp: Path) -> None:
    valkey.start()
    valkey.stop()
    manifest = next((short_tmp / "valkey" / "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")
    assert redis.Redis.from_url(valkey.start()).ping()
    assert (short_tmp / "valkey.unreadable").is_dir()


def test_a_valkey_binary_that_is_none_is_refused_by_its_variable(tmp_path: Path) -> None:
    with pytest.raises(BadSettingError, match="ZOETROPE_VALKEY_BINARY"):
        find_binary(tmp_path / "none")


def test_a_path_too_long_for_a_socket_gets_a_short_private_folder(short_tmp: Path) -> None:
    folder = socket_folder(short_tmp / ("x" * 90) / "run")
    try:
        assert len(str(folder)) < 60
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert socket_folder(short_tmp / ("x" * 90) / "run") == folder
    finally:
        folder.rmdir()


def test_a_folder_with_spaces_works(short_tmp: Path) -> None:
    spaced = short_tmp / "my films"
    spaced.mkdir(mode=0o711)
    valkey = EmbeddedValkey(spaced / "valkey", sockets=spaced / "run", log=spaced / "valkey.log")
    server = EmbeddedPostgres(spaced / "postgres", log=spaced / "postgres.log", durable=False)
    try:
        address = valkey.start()
        assert redis.Redis.from_url(address).ping()
        server.start()
        assert server.answers()
    finally:
        valkey.stop()
        server.stop()
    assert not Path(urlsplit(address).path).parent.exists(), "the short folder for its socket is gone with it"


def test_a_server_that_cannot_start_says_so_in_one_line(server: EmbeddedPostgres, short_tmp: Path) -> None:
    server.start()
    server.stop()
    (short_tmp / "postgres" / "data" / "postgresql.conf").write_text("no such setting = on\n")
    with pytest.raises(EmbeddedPartError) as caught:
        server.start()
    assert "\n" not in str(caught.value)
    assert "ZOETROPE_DATABASE_URL" in str(caught.value)


def test_a_data_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="ZOETROPE_DATA_DIR"):
        prepare_data_dir(tmp_path / "file" / "data")


def test_too_little_room_says_how_little(tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match=r"MB free.*free some disk"):
        prepare_data_dir(tmp_path, min_free_bytes=1 << 60)


@as_root
def test_a_full_disk_is_one_clear_line() -> None:
    with tempfile.TemporaryDirectory() as mount:
        if (
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", mount], check=False).returncode
            != 0
        ):
            pytest.skip("this machine lets nobody mount")
        try:
            (Path(mount) / "filler").write_bytes(b"\0" * 48 * 1024)
            with pytest.raises(DataDirError) as caught:
                prepare_data_dir(Path(mount) / "data", min_free_bytes=1 << 20)
            assert "free some disk" in str(caught.value)
        finally:
            subprocess.run(["umount", mount], check=True)


def test_two_studios_never_share_a_data_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(AlreadyRunningError, match="already uses"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


async def test_a_command_borrows_database_and_valkey_while_the_studio_is_down(short_tmp: Path) -> None:
    settings = Settings(data_dir=short_tmp / "data")
    with borrowed_services(settings) as borrowed:
        assert await execute(borrowed.require_database_url(), "SELECT 1") == 1
        assert redis.Redis.from_url(borrowed.require_redis_url()).ping()
    with borrowed_services(
        Settings(data_dir=short_tmp, database_url="postgresql://elsewhere/x", redis_url="redis://elsewhere")
    ) as named:
        assert named.database_url == "postgresql://elsewhere/x"


def test_no_single_value_can_fill_the_embedded_valkey(valkey: EmbeddedValkey) -> None:
    client = redis.Redis.from_url(valkey.start())
    assert client.set("message", b"x" * 2**20)
    with pytest.raises(redis.RedisError):
        client.set("flood", b"x" * (17 * 2**20))
    assert client.get("flood") is None
    assert int(client.info("memory")["maxmemory"]) > 0
    client.close()
