"""Scratch folders: gone after use; what a killed process left goes too, and nobody else's."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from backend import scratch
from backend.ending import end_tasks
from backend.scratch import PREFIX, YOUNG_S, scratch_folder, sweep_scratch
from jobs import moderator

HOLDER = """
import sys
from backend.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "clip.mp4").write_bytes(b"clip")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder_for_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make_old(path: Path) -> Path:
    then = time.time() - YOUNG_S - 1
    os.utime(path, (then, then))
    return path


def left_behind(folder: Path, name: str = "left") -> Path:
    path = folder / (PREFIX + name)
    path.mkdir(mode=0o700)
    (path / "clip.mp4").write_bytes(b"clip")
    return make_old(path)


def test_a_scratch_folder_is_private_and_gone_afterwards() -> None:
    with scratch_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "clip.mp4").write_bytes(b"clip")
        make_old(folder)
        assert sweep_scratch() == 0
        assert folder.is_dir()
    assert not folder.exists()


def test_a_folder_goes_once_its_process_is_killed_and_not_before(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    try:
        assert folder.parent == tmp_path
        make_old(folder)
        assert sweep_scratch() == 0
        assert (folder / "clip.mp4").exists()
    finally:
        process.kill()
        process.communicate()
    assert folder.is_dir()
    assert sweep_scratch() == 1
    assert not folder.exists()


def test_only_ones_own_old_folders_go(tmp_path: Path) -> None:
    young = tmp_path / (PREFIX + "young")
    young.mkdir(mode=0o700)
    shared = left_behind(tmp_path, "shared")
    shared.chmod(0o755)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    make_old(elsewhere)
    link = tmp_path / (PREFIX + "link")
    link.symlink_to(elsewhere)
    other = make_old_file(tmp_path / (PREFIX + "file"))
    kept = [young, shared, elsewhere, link, other]
    if os.geteuid() == 0:
        somebody_elses = left_behind(tmp_path, "theirs")
        os.chown(somebody_elses, 65534, 65534)
        kept.append(somebody_elses)
    assert sweep_scratch() == 0
    assert all(path.exists() for path in kept)


def make_old_file(path: Path) -> Path:
    path.write_bytes(b"")
    return make_old(path)


async def test_what_is_too_young_at_first_goes_later_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "SWEPT_EVERY_S", 0.0)
    old, young = left_behind(tmp_path), left_behind(tmp_path, "young")
    os.utime(young)
    sweeper = asyncio.create_task(scratch.keep_swept())
    try:
        await gone(old)
        assert young.exists()
        make_old(young)
        await gone(young)
    finally:
        await end_tasks(sweeper, within_s=10)


async def test_a_moderator_sweeps_beside_its_work(tmp_path: Path) -> None:
    left = left_behind(tmp_path)
    moderating, sweeping = moderator._work(None, "")  # type: ignore[arg-type]  # nothing of it is asked before it runs
    moderating.close()
    sweeper = asyncio.create_task(sweeping)
    try:
        await gone(left)
    finally:
        await end_tasks(sweeper, within_s=10)


async def gone(path: Path) -> None:
    async with asyncio.timeout(30):
        while path.exists():
            await asyncio.sleep(0)
