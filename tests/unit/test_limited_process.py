"""What decodes strangers' files can be ended by them, and harms nobody then."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from moderation.limited_process import LimitedProcessEnded, LimitedProcesses, Limits, NoLimitedProcess

TASK = "tests.unit.strangers_tasks:run"
LIMITS = Limits(wall_s=20.0, cpu_s=20, memory_bytes=2**29, answer_bytes=2**20)


@pytest.fixture(scope="module")
def processes() -> Iterator[LimitedProcesses]:
    with LimitedProcesses(TASK, LIMITS) as several:
        yield several


def test_it_answers_about_the_files_it_was_given(processes: LimitedProcesses, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"clip")
    (tmp_path / "b").write_bytes(b"")
    with (tmp_path / "a").open("rb") as clip, (tmp_path / "b").open("rb") as empty:
        assert processes.ask({"do": "read"}, [clip, empty]) == ({"sizes": [4, 0]}, b"and bytes")


@pytest.mark.parametrize("deed", ["crash", "raise", "talk on"])
def test_what_ends_one_ends_no_other(processes: LimitedProcesses, deed: str) -> None:
    with pytest.raises(LimitedProcessEnded):
        processes.ask({"do": deed})
    assert processes.ask({"do": "read"})[0] == {"sizes": []}


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS holds no limit of memory")
def test_no_more_memory_is_to_be_had_than_is_allowed(processes: LimitedProcesses) -> None:
    with pytest.raises(LimitedProcessEnded):
        processes.ask({"do": "fill memory"})


@pytest.mark.parametrize(
    ("deed", "limits"),
    [("hang", replace(LIMITS, wall_s=2.0)), ("spin", replace(LIMITS, cpu_s=1))],
)
def test_no_more_time_is_to_be_had_than_is_allowed(deed: str, limits: Limits) -> None:
    with LimitedProcesses(TASK, limits) as processes:
        with pytest.raises(LimitedProcessEnded):
            processes.ask({"do": deed})
        assert processes.ask({"do": "read"})[0] == {"sizes": []}


def test_it_opens_nothing_knows_no_secret_and_holds_no_torch(
    processes: LimitedProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOETROPE_SECRET_KEY", "secret")
    found, _ = processes.ask({"do": "look around"})
    asked_as_nobody = ["signal"] if os.geteuid() == 0 else []
    assert found["refused"] == ["file", "network", "pipe", "thread", "process", *asked_as_nobody]
    assert not [name for name in found["environment"] if name.startswith("ZOETROPE")]
    assert found["torch"] is False
    assert found["descriptors"] == 3, "its output, twice, and whom it answers: none of other questions"


def test_when_the_one_that_forks_was_killed_another_takes_its_place(processes: LimitedProcesses) -> None:
    processes.ask({"do": "read"})
    (forker,) = forkers()
    os.kill(forker.pid, signal.SIGKILL)
    forker.wait(10)
    assert processes.ask({"do": "read"})[0] == {"sizes": []}


def test_signals_of_a_terminal_end_nothing_that_is_being_decoded(processes: LimitedProcesses) -> None:
    processes.ask({"do": "read"})
    (forker,) = forkers()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(forker.pid, number)
    processes.ask({"do": "read"})
    assert forkers() == [forker]


def test_nothing_is_left_once_it_is_closed() -> None:
    before = forkers()
    several = LimitedProcesses(TASK, LIMITS)
    ended: list[BaseException] = []

    def ask() -> None:
        with pytest.raises(LimitedProcessEnded) as caught:
            several.ask({"do": "hang"})
        ended.append(caught.value)

    several.ask({"do": "read"})
    asking = threading.Thread(target=ask)
    asking.start()
    (forker,) = [process for process in forkers() if process not in before]
    while not forker.children():
        assert asking.is_alive()
    (hanging,) = forker.children()
    several.close()
    asking.join(10)
    assert ended
    assert not psutil.pid_exists(forker.pid)
    hanging.wait(10)


def test_one_that_cannot_start_says_nothing_of_the_file() -> None:
    with LimitedProcesses("moderation.nothing:here", LIMITS) as processes, pytest.raises(NoLimitedProcess):
        processes.ask({})


def forkers() -> list[psutil.Process]:
    """Those of this process's children that fork: the servers of other tests are among its children too."""
    children: list[psutil.Process] = psutil.Process().children()
    return [child for child in children if TASK in child.cmdline()]
