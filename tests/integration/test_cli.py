import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
CLIP = b"\0\0\0\x18ftypisom" + b"frames" * 1000


@pytest.fixture
def zoetrope(short_tmp: Path, repository: Path, studio_environment: Callable[..., dict[str, str]]) -> Run:
    """Runs `zoetrope ARGUMENTS` in a process of its own, with settings as keywords."""

    def run(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "backend.cli", *arguments],
            cwd=repository,
            env=studio_environment(data_dir=str(short_tmp / "data"), **settings),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


class FakeStudio(BaseHTTPRequestHandler):
    """Answers as `/v1/videos` does: a job that waits, denoises and completes; or what the test sets."""

    steps: list[dict[str, object]]
    submitted: list[bytes]
    refusal: tuple[int, dict[str, object]] | None

    def do_POST(self) -> None:
        self.submitted.append(self.rfile.read(int(self.headers["content-length"])))
        if self.refusal is not None:
            self._json(*self.refusal)
        else:
            self._json(200, {"id": "video_1", "status": "queued", "progress": 0, "queue_position": 2})

    def do_GET(self) -> None:
        if self.path.endswith("/content"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CLIP)
            return
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        self._json(200, {"id": "video_1", **step})

    def _json(self, status: int, body: dict[str, object]) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def fake_studio() -> Iterator[tuple[type[FakeStudio], dict[str, str]]]:
    class Handler(FakeStudio):
        """One test's own."""

    Handler.submitted = []
    Handler.refusal = None
    Handler.steps = [
        {"status": "queued", "progress": 0, "queue_position": 1},
        {"status": "in_progress", "progress": 40},
        {"status": "completed", "progress": 100},
    ]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, {"public_url": f"http://127.0.0.1:{server.server_port}", "api_key": "sk-test"}
    server.shutdown()
    server.server_close()


Fake = tuple[type[FakeStudio], dict[str, str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert done.returncode != 0
    return lines[0]


async def value(url: str, query: str, *arguments: object) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


async def test_a_person_a_key_and_credits_from_the_command_line(
    zoetrope: Run, fresh_pg_url: str, valkey_url: str
) -> None:
    urls = {"database_url": fresh_pg_url, "redis_url": valkey_url}
    email = "ada@example.org"
    made = zoetrope("users", "create", "--email", email, "--tier", "pro", "--role", "moderator", **urls)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[1].startswith("password: ")
    assert await value(fresh_pg_url, "SELECT role FROM users WHERE email = $1", email) == "moderator"

    again = zoetrope(
        "users", "create", "--email", email, "--password-stdin", stdin="a long enough one\n", **urls
    )
    assert email in one_line(again)
    weak = zoetrope(
        "users", "create", "--email", "bo@example.org", "--password-stdin", stdin="elevenchars\n", **urls
    )
    assert "12 characters" in one_line(weak)
    listed = zoetrope("users", "list", "--search", "ADA@", **urls).stdout.splitlines()
    assert [line.split()[:4] for line in listed[1:]] == [[email, "moderator", "pro", "active"]]

    key = zoetrope("keys", "create", "--email", email, **urls)
    assert key.returncode == 0, key.stderr
    assert len(key.stdout.split()) == 1, "the key alone, so that it can be piped"
    assert key.stderr == ""
    narrow = zoetrope(
        "keys", "create", "--email", email, "--name", "reader", "--scope", "videos:read",
        "--expires-in-days", "30", **urls,
    )  # fmt: skip
    shown = zoetrope("keys", "list", "--email", email, **urls).stdout
    assert narrow.stdout.strip() not in shown, "a key is shown once"
    line = next(line for line in shown.splitlines() if " reader " in line)
    assert "videos:read" in line
    assert "videos:write" not in line
    assert "until 20" in line
    assert zoetrope("keys", "revoke", line.split()[0], **urls).returncode == 0
    assert "revoked 20" in zoetrope("keys", "list", "--email", email, **urls).stdout
    assert "key_unknown" in one_line(zoetrope("keys", "revoke", "key_unknown", **urls))

    before = zoetrope("credits", "grant", "--email", email, "--amount", "1", **urls)
    after = zoetrope("credits", "grant", "--email", email, "--amount", "500", **urls)
    assert int(after.stdout.split()[2]) - int(before.stdout.split()[2]) == 500

    nobody = zoetrope("credits", "grant", "--email", "nobody@example.org", "--amount", "5", **urls)
    assert "nobody@example.org" in one_line(nobody)


def test_an_invitation_is_a_link_printed_alone(zoetrope: Run, pg_url: str, valkey_url: str) -> None:
    done = zoetrope("users", "invite", "--tier", "plus", database_url=pg_url, redis_url=valkey_url)
    assert done.returncode == 0, done.stderr
    assert "/sign-up?invitation=" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    unknown = zoetrope("users", "invite", "--tier", "gold", database_url=pg_url, redis_url=valkey_url)
    assert unknown.returncode != 0
    assert "free" in unknown.stderr


def test_the_version_is_one_line(zoetrope: Run) -> None:
    done = zoetrope("--version")
    assert done.returncode == 0
    assert done.stdout.split()[0] == "zoetrope"
    assert done.stdout.count("\n") == 1


def test_an_empty_password_is_refused(zoetrope: Run) -> None:
    assert "password" in one_line(zoetrope("users", "create", "--email", "a@b.org", "--password-stdin"))


async def test_migrate_brings_an_empty_database_up(zoetrope: Run, empty_pg_url: str, valkey_url: str) -> None:
    done = zoetrope("migrate", database_url=empty_pg_url, redis_url=valkey_url)
    assert done.returncode == 0, done.stderr
    assert await value(empty_pg_url, "SELECT to_regclass('users') IS NOT NULL")


def test_commands_work_while_the_studio_is_down_and_say_when_they_make_one(zoetrope: Run) -> None:
    done = zoetrope("users", "create", "--email", "ada@example.org")
    assert done.returncode == 0, done.stderr
    assert "/data: a new, empty one is made there" in done.stderr
    assert "ZOETROPE_DATA_DIR" in done.stderr
    again = zoetrope("users", "list")
    assert (again.returncode, again.stderr) == (0, "")
    assert "ada@example.org" in again.stdout


def test_a_part_alone_without_a_studio_says_what_it_needs(zoetrope: Run) -> None:
    assert "ZOETROPE_DATABASE_URL" in one_line(zoetrope("control"))
    assert "ZOETROPE_REDIS_URL" in one_line(zoetrope("worker"))


def test_the_doctor_names_what_is_broken_and_how_to_mend_it(zoetrope: Run, valkey_url: str) -> None:
    done = zoetrope("doctor", database_url="postgresql://127.0.0.1:1/none", redis_url=valkey_url)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    broken = next(at for at, line in enumerate(lines) if line.startswith("!!  postgres"))
    assert "ZOETROPE_DATABASE_URL" in lines[broken + 1]
    assert any(line.startswith("ok  python") for line in lines)
    assert any(line.startswith("ok  valkey") for line in lines)
    assert "Traceback" not in done.stderr


def marked(done: subprocess.CompletedProcess[str], part: str) -> str:
    """What the doctor says of a part, its mark first."""
    return next(line for line in done.stdout.splitlines() if line[4:].startswith(f"{part} "))


def test_the_doctor_calls_nothing_well_that_does_not_run(zoetrope: Run) -> None:
    done = zoetrope("doctor", port=str(free_port()))
    assert done.returncode == 1
    assert marked(done, "studio").startswith("!!")
    assert "make run" in done.stdout
    assert marked(done, "worker").startswith("--")
    assert marked(done, "port").startswith("ok")


async def test_the_doctor_says_which_workers_take_nothing(
    zoetrope: Run, fresh_pg_url: str, valkey_url: str
) -> None:
    services = {"database_url": fresh_pg_url, "redis_url": valkey_url}
    assert marked(zoetrope("doctor", **services), "worker") == "!!  worker      none was ever heard"
    await value(
        fresh_pg_url,
        "INSERT INTO workers (id, boot_id, heartbeat_at, drain_requested, quarantined_until, quarantine_reason,"
        " memory_gb, recipes, resident) SELECT id, 'b', now() - age, drain, until, why, 1, '{mini}', '{}' FROM (VALUES"
        " ('takes', interval '0', false, NULL, ''), ('drained', interval '0', true, NULL, ''),"
        " ('rests', interval '0', false, now() + interval '1 hour', 'out of memory'),"
        " ('silent', interval '1 hour', true, NULL, '')) AS worker(id, age, drain, until, why)",
    )
    said = marked(zoetrope("doctor", **services), "worker")
    assert said.startswith("--  worker      3 heard ")
    assert "taking nothing new: drained;" in said
    assert said.endswith("resting after failures: rests (out of memory)")
    listed = {line.split()[0]: line for line in zoetrope("workers", "list", **services).stdout.splitlines()}
    assert "draining" in listed["drained"]
    assert "out of memory" in listed["rests"]
    assert "1 h ago" in listed["silent"]


def test_another_program_on_the_port_is_no_sign_of_health(zoetrope: Run, fake_studio: Fake) -> None:
    _, settings = fake_studio
    done = zoetrope("doctor", port=settings["public_url"].rpartition(":")[2])
    assert done.returncode == 1
    assert marked(done, "port").startswith("!!")
    assert "set ZOETROPE_PORT" in done.stdout


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine may have a GPU")
def test_the_doctor_and_a_worker_alone_say_that_there_is_no_such_device(
    zoetrope: Run, valkey_url: str
) -> None:
    done = zoetrope("doctor", device="cuda")
    assert marked(done, "torch").startswith("!!")
    assert "ZOETROPE_DEVICE=auto" in done.stdout
    worker = zoetrope("worker", device="cuda", redis_url=valkey_url)
    assert "ZOETROPE_DEVICE=cuda" in one_line(worker)
    assert worker.returncode == 78


@pytest.mark.parametrize("storage", ["/proc/nostorage", "s3://k:s@127.0.0.1:1/none?tls=false&region=x"])
def test_storage_that_cannot_be_written_is_broken_with_its_remedy(zoetrope: Run, storage: str) -> None:
    done = zoetrope("doctor", storage_url=storage)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    broken = next(at for at, line in enumerate(lines) if line.startswith("!!  storage"))
    assert "ZOETROPE_STORAGE_URL" in lines[broken + 1]
    assert ":s@" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_part_of_its_own_says_that_its_storage_cannot_be_written(zoetrope: Run, valkey_url: str) -> None:
    done = zoetrope(
        "control",
        database_url="postgresql://127.0.0.1:1/none",
        redis_url=valkey_url,
        storage_url="/proc/none",
    )
    assert done.returncode == 1
    assert "ZOETROPE_STORAGE_URL" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_generate_waits_for_the_clip_and_writes_it(zoetrope: Run, fake_studio: Fake, tmp_path: Path) -> None:
    studio, settings = fake_studio
    clip = tmp_path / "clip.mp4"
    sets = ("--seed", "7", "--guidance", "3.5", "--negative-prompt", "blur")
    done = zoetrope("generate", "a red circle", "-o", str(clip), *sets, **settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(clip)
    assert clip.read_bytes() == CLIP
    assert b'name="prompt"' in studio.submitted[0]
    for sent in (b'name="seed"', b'name="guidance_scale"\r\n\r\n3.5', b'name="negative_prompt"\r\n\r\nblur'):
        assert sent in studio.submitted[0]
    assert b'name="size"' not in studio.submitted[0]
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_generate_tells_why_there_is_no_clip(zoetrope: Run, fake_studio: Fake, tmp_path: Path) -> None:
    studio, settings = fake_studio
    studio.steps = [
        {
            "status": "failed",
            "error": {"code": "moderation_blocked", "message": "It shows a weapon. Not charged."},
        }
    ]
    done = zoetrope("generate", "x", "-o", str(tmp_path / "clip.mp4"), **settings)
    assert done.returncode == 1
    assert "moderation_blocked" in done.stderr
    assert "It shows a weapon. Not charged." in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_generate_passes_a_refusal_on_in_one_line(zoetrope: Run, fake_studio: Fake) -> None:
    studio, settings = fake_studio
    message = "size must be one of 512x512"
    studio.refusal = (400, {"error": {"message": message, "code": "invalid_value", "param": "size"}})
    assert message in one_line(zoetrope("generate", "x", "--size", "1x1", **settings))


def test_generate_without_a_studio_says_how_to_start_one(zoetrope: Run) -> None:
    assert "make run" in one_line(zoetrope("generate", "x"))
    away = zoetrope("generate", "x", public_url="http://127.0.0.1:1", api_key="sk-test")
    assert "make run" in one_line(away)
