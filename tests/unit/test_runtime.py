"""What a command in another shell knows of the studio that runs over its data folder."""

import os
from pathlib import Path

import pytest

from backend.runtime import ProcessMark, Runtime, with_running_studio, write_runtime
from backend.settings import load_settings


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.setenv("ZOETROPE_DATA_DIR", str(tmp_path))
    runtime = Runtime(
        supervisor=ProcessMark.of(os.getpid()),
        base_url="http://127.0.0.1:9000",
        database_url="postgresql://a@/a",
        redis_url="unix:///tmp/a.sock",
        public_url="https://studio.example.org",
    )
    write_runtime(tmp_path, runtime)
    return runtime


def test_its_services_and_its_address_are_taken_over(running: Runtime) -> None:
    found = with_running_studio(load_settings())
    assert (found.database_url, found.redis_url) == (running.database_url, running.redis_url)
    assert found.public_url == running.public_url


@pytest.mark.parametrize(
    ("name", "value"),
    [("PUBLIC_URL", "https://other.example.org"), ("PORT", "8500"), ("HOST", "127.0.0.2")],
)
def test_what_this_shell_says_itself_goes_first(
    running: Runtime, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ZOETROPE_{name}", value)
    assert with_running_studio(load_settings()).public_url == load_settings().public_url != running.public_url


def test_a_studio_that_ended_lends_nothing(running: Runtime, tmp_path: Path) -> None:
    gone = running.model_copy(update={"supervisor": ProcessMark(pid=os.getpid(), born_s=1.0)})
    write_runtime(tmp_path, gone)
    assert with_running_studio(load_settings()) == load_settings()
