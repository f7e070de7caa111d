"""A disk that fills up while the studio runs: said on the console, where it can still be read."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from backend.settings import Settings
from backend.supervisor import FULL_BELOW_BYTES, Supervisor


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_full_disk_is_said_once_and_so_is_the_room_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    supervisor = Supervisor(settings=Settings(data_dir=tmp_path), say=said.append)
    for free in (FULL_BELOW_BYTES, FULL_BELOW_BYTES - 1, 0, FULL_BELOW_BYTES, FULL_BELOW_BYTES):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: Usage(10**12, 0, free))
        supervisor._look_at_disk()
    assert len(said) == 2
    assert f"full: {tmp_path}" in said[0]
    assert "room again" in said[1]
