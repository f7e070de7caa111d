import json
from pathlib import Path

import pytest

from frontend import build

PACKAGE = {"version": "11.14.0", "integrity": "sha512-abc"}


def lock(**package: str) -> str:
    return json.dumps({"packages": {"node_modules/a": PACKAGE | package}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "package-lock.json"


def test_the_registry_of_this_machine_does_not_get_into_the_tracked_lock(path: Path) -> None:
    path.write_text(lock(resolved="https://registry.example/a.tgz"))
    build._keep_locks({path: lock()})
    assert path.read_text() == lock()


def test_a_package_that_changed_stays_changed(path: Path) -> None:
    path.write_text(lock(version="11.15.0"))
    build._keep_locks({path: lock()})
    assert path.read_text() == lock(version="11.15.0")
