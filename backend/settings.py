"""Every environment variable of Zoetrope, read at the edge of a process, and the secrets beside the data.

No other module reads a `ZOETROPE_` name from `os.environ`. Values are made at call time, never at import.
"""

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backend.operator_errors import BadSettingError, DataDirError

ENV_PREFIX = "ZOETROPE_"
SECRET_BYTES = 32
WORKER_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
# Read by tools/setup.sh, and by the engine that stands in for a model in tests.
_NOT_OURS = (f"{ENV_PREFIX}TORCH", f"{ENV_PREFIX}FAKE_")
_PLAINLY = {"int_parsing": "must be a whole number", "bool_parsing": "must be true or false"}
ROOT = Path(__file__).resolve().parent.parent

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Device(StrEnum):
    """Where a worker computes."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class SignupMode(StrEnum):
    """Who may make an account."""

    OPEN = "open"
    INVITATION = "invitation"
    CLOSED = "closed"


class EngineKind(StrEnum):
    """Which engine a worker runs; `fake` is for tests alone."""

    DIFFUSERS = "diffusers"
    FAKE = "fake"


class LogLevel(StrEnum):
    """The least severe log line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def default_data_dir() -> Path:
    """`.zoetrope` beside the checkout, or in the current folder when installed as a plain package."""
    home = ROOT if (ROOT / "pyproject.toml").exists() else Path.cwd()
    return home / ".zoetrope"


class Settings(BaseSettings):
    """The settings of one process; each field is the environment variable `ZOETROPE_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True
    )

    data_dir: Path = Field(default_factory=default_data_dir)
    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=1, le=65535)
    public_url: str = ""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = ()
    database_url: str | None = None
    redis_url: str | None = None
    storage_url: str = ""
    device: Device = Device.AUTO
    signup: SignupMode = SignupMode.INVITATION
    smtp_url: str | None = None
    mail_from: str = "Zoetrope <zoetrope@localhost>"
    billing_secret: SecretStr | None = None
    billing_secret_file: Path | None = None
    billing_catalogue: Path | None = None
    billing_contact: str = Field(default="", max_length=200)
    evidence_days: int = Field(default=30, ge=0, le=3650)
    metrics_token: SecretStr | None = None
    metrics_listen: str = ""
    metrics_sockets: Path | None = None
    worker_id: str = Field(default="local-1", pattern=WORKER_ID_PATTERN)
    clip: Path | None = None
    models: Annotated[tuple[str, ...], NoDecode] = ()
    log_level: LogLevel = LogLevel.INFO
    engine: EngineKind = EngineKind.DIFFUSERS
    control_url: str = ""
    secret_key: SecretStr | None = None
    api_key: SecretStr | None = None
    valkey_binary: Path | None = None

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(
                ipaddress.ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip()
            )
        return value

    @field_validator("models", mode="before")
    @classmethod
    def _model_names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = tuple(part.strip().lower() for part in value.split(",") if part.strip())
        if any(re.search(r"[/:*\s]", name) for name in names):
            raise ValueError("must be host names without a port, comma-separated, like studio.internal, web")
        return names

    @field_validator("database_url")
    @classmethod
    def _postgres_scheme(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {
            "postgres",
            "postgresql",
            "postgresql+asyncpg",
        }:
            raise ValueError("must look like postgresql://user:password@host:5432/name")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("must look like redis://host:6379/0, rediss://... or unix:///path/to/socket")
        return value

    @field_validator("metrics_listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("must look like 9464 (on loopback alone) or 0.0.0.0:9464")
        return f"{host or '127.0.0.1'}:{port}" if value else ""

    @field_validator("public_url", "control_url")
    @classmethod
    def _http_scheme(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).netloc):
            raise ValueError("must look like https://studio.example.org")
        if re.search(r"[?#]", value) or urlsplit(value).path.strip("/"):
            raise ValueError(
                "has no path and no query, like https://studio.example.org: the studio has its name alone"
            )
        return value.rstrip("/")

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.port == 0:
                raise ValueError("must look like smtp://user:password@host:587")
        return value

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str) -> str:
        if "@" not in parseaddr(value)[1]:
            raise ValueError("must look like Name <mail@example.org>")
        return value

    @model_validator(mode="after")
    def _derived(self) -> Self:
        if not self.public_url:
            object.__setattr__(self, "public_url", f"http://{url_host(self.host)}:{self.port}")
        if not self.control_url:
            loopback = "127.0.0.1" if self.host in {"0.0.0.0", "::", ""} else url_host(self.host)
            object.__setattr__(self, "control_url", f"http://{loopback}:{self.port}")
        if not self.storage_url:
            object.__setattr__(self, "storage_url", str(self.data_dir / "storage"))
        return self

    @property
    def evidence_kept(self) -> timedelta:
        """How long what a verdict blocked is kept for appeals and authorities; then it is swept."""
        return timedelta(days=self.evidence_days)

    @property
    def own_origins(self) -> tuple[str, ...]:
        """The origins of the studio's own pages: who may open the event socket, and nobody else's page."""
        local = [f"http://{host}:{self.port}" for host in ("127.0.0.1", "localhost", "[::1]")]
        named = [
            f"{scheme}://{name}{port}"
            for name in self.allowed_hosts
            for scheme, port in (("http", f":{self.port}"), ("http", ""), ("https", ""))
        ]
        return tuple(dict.fromkeys((self.public_url, *local, *named)))

    @property
    def secure_cookies(self) -> bool:
        """True where the browser reaches us by https, so that cookies must be marked Secure."""
        return self.public_url.startswith("https://")

    def require_database_url(self) -> str:
        """The Postgres URL; raises `BadSettingError` in a process that was started alone without one."""
        if self.database_url is None:
            raise BadSettingError("no database", "start `zoetrope up` first, or set ZOETROPE_DATABASE_URL")
        return self.database_url

    def require_redis_url(self) -> str:
        """The Valkey URL; raises `BadSettingError` in a process that was started alone without one."""
        if self.redis_url is None:
            raise BadSettingError("no Valkey", "start `zoetrope up` first, or set ZOETROPE_REDIS_URL")
        return self.redis_url

    def secret(self, name: str) -> bytes:
        """The 32 secret bytes for one purpose (`session`, `url-signing`, ...), the same on every call.

        With ZOETROPE_SECRET_KEY set (several hosts) it is derived from that; otherwise it is made once and
        kept in `DATA_DIR/secrets/NAME.key`, mode 0600.
        """
        if self.secret_key is not None:
            return hmac.digest(self.secret_key.get_secret_value().encode(), name.encode(), hashlib.sha256)
        return _secret_file(self.data_dir / "secrets", name)

    def billing_secrets(self) -> tuple[str, ...]:
        """The signing secrets of the payment provider's events: several, apart by blanks, while one is replaced.

        Raises `BadSettingError` for a file that others may read.
        """
        if self.billing_secret is not None:
            return tuple(self.billing_secret.get_secret_value().split())
        path = self.billing_secret_file
        if path is None:
            return ()
        try:
            if path.stat().st_mode & 0o077:
                raise BadSettingError(f"others may read {path}", f"chmod 600 {path}")
            return tuple(path.read_text(encoding="utf-8").split())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise BadSettingError("ZOETROPE_BILLING_SECRET_FILE can't be read", reason) from error


def url_host(host: str) -> str:
    """A host as it is written inside a URL: a literal IPv6 address in brackets, a wildcard as localhost."""
    if host in {"0.0.0.0", "::", ""}:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def unknown_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like settings and are none, each with the setting it may be meant for, or an empty text."""
    known = [ENV_PREFIX + name.upper() for name in Settings.model_fields]
    strange = [
        name
        for name in sorted(environment)
        if name.startswith(ENV_PREFIX) and name not in known and not name.startswith(_NOT_OURS)
    ]
    return {name: next(iter(get_close_matches(name, known, n=1, cutoff=0.8)), "") for name in strange}


def load_settings() -> Settings:
    """Reads the environment; raises `BadSettingError` naming the first variable that can't be used."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        variable = ENV_PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        message = _PLAINLY.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        raise BadSettingError(f"{variable} can't be used", message[:1].lower() + message[1:]) from None


def _secret_file(folder: Path, name: str) -> bytes:
    path = folder / f"{name}.key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            # Written aside, then linked: of two processes that start at once both read the same whole file.
            draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        value = path.read_bytes()
    except OSError as error:
        raise DataDirError(
            f"the secret {path} can't be kept ({error.strerror})",
            "make ZOETROPE_DATA_DIR writable and free some disk",
        ) from error
    if len(value) != SECRET_BYTES:
        raise DataDirError(
            f"the secret {path} is damaged", "restore it from a backup, or delete it to sign everyone out"
        )
    return value
