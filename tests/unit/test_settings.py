import os
import re
import stat
from pathlib import Path

import pytest

from backend.operator_errors import BadSettingError, DataDirError
from backend.settings import Device, Settings, SignupMode, load_settings, unknown_settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ZOETROPE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ZOETROPE_DATA_DIR", str(tmp_path / "data"))


def test_an_empty_environment_gives_a_studio_on_loopback_with_embedded_parts() -> None:
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8400)
    assert settings.public_url == settings.control_url == "http://127.0.0.1:8400"
    assert settings.database_url is settings.redis_url is None
    assert settings.storage_url == str(settings.data_dir / "storage")
    assert (settings.device, settings.signup) == (Device.AUTO, SignupMode.INVITATION)
    assert not settings.secure_cookies


def test_urls_follow_the_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOETROPE_HOST", "0.0.0.0")
    monkeypatch.setenv("ZOETROPE_PORT", "9000")
    settings = load_settings()
    assert settings.public_url == "http://localhost:9000"
    assert settings.control_url == "http://127.0.0.1:9000"


def test_a_public_https_address_makes_cookies_secure_and_loses_its_slash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZOETROPE_PUBLIC_URL", "https://studio.example.org/")
    settings = load_settings()
    assert settings.public_url == "https://studio.example.org"
    assert settings.secure_cookies


def test_trusted_proxies_are_networks_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOETROPE_TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    assert [str(network) for network in load_settings().trusted_proxies] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ZOETROPE_PORT", "eighty"),
        ("ZOETROPE_PORT", "70000"),
        ("ZOETROPE_DEVICE", "tpu"),
        ("ZOETROPE_SIGNUP", "maybe"),
        ("ZOETROPE_DATABASE_URL", "mysql://localhost/x"),
        ("ZOETROPE_REDIS_URL", "localhost:6379"),
        ("ZOETROPE_PUBLIC_URL", "studio.example.org"),
        ("ZOETROPE_PUBLIC_URL", "https://studio.example.org/here"),
        ("ZOETROPE_PUBLIC_URL", "https://studio.example.org/?page=1"),
        ("ZOETROPE_PUBLIC_URL", "https://studio.example.org?"),
        ("ZOETROPE_CONTROL_URL", "http://127.0.0.1:8400/#part"),
        ("ZOETROPE_SMTP_URL", "mail.example.org"),
        ("ZOETROPE_SMTP_URL", "smtp://"),
        ("ZOETROPE_SMTP_URL", "smtp://mail.example.org:post"),
        ("ZOETROPE_MAIL_FROM", "Zoetrope"),
        ("ZOETROPE_TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("ZOETROPE_WORKER_ID", "a worker:with spaces"),
    ],
)
def test_a_bad_value_names_its_variable_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettingError) as caught:
        load_settings()
    assert variable in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_of_the_wrong_kind_is_told_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOETROPE_PORT", "abc")
    with pytest.raises(BadSettingError, match="ZOETROPE_PORT can't be used: must be a whole number"):
        load_settings()


def test_a_misspelt_setting_is_noticed_with_the_one_that_was_meant() -> None:
    environment = {"ZOETROPE_PROT": "1", "ZOETROPE_PORT": "8400", "ZOETROPE_XYZZY": "", "PATH": "/bin"}
    environment |= {"ZOETROPE_TORCH": "cpu", "ZOETROPE_FAKE_STEP_S": "1"}
    assert unknown_settings(environment) == {"ZOETROPE_PROT": "ZOETROPE_PORT", "ZOETROPE_XYZZY": ""}


def test_a_secret_is_made_once_and_kept_for_its_owner_alone() -> None:
    settings = load_settings()
    session = settings.secret("session")
    assert len(session) == 32
    assert load_settings().secret("session") == session
    assert settings.secret("url-signing") != session
    path = settings.data_dir / "secrets" / "session.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_hosts_that_share_a_secret_key_agree_without_sharing_a_folder(tmp_path: Path) -> None:
    first = Settings(data_dir=tmp_path / "a", secret_key="one key")
    second = Settings(data_dir=tmp_path / "b", secret_key="one key")
    assert first.secret("session") == second.secret("session") != first.secret("url-signing")
    assert not (tmp_path / "a").exists()


def test_a_damaged_secret_is_not_used(tmp_path: Path) -> None:
    settings = load_settings()
    settings.secret("session")
    (settings.data_dir / "secrets" / "session.key").write_bytes(b"short")
    with pytest.raises(DataDirError, match="damaged"):
        settings.secret("session")


def test_a_process_started_alone_says_what_it_needs() -> None:
    with pytest.raises(BadSettingError, match="ZOETROPE_DATABASE_URL"):
        load_settings().require_database_url()


@pytest.mark.parametrize("names", ["studio:8400", "https://studio", "*.example.org", "a b"])
def test_allowed_hosts_are_plain_names(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    monkeypatch.setenv("ZOETROPE_ALLOWED_HOSTS", names)
    with pytest.raises(BadSettingError, match="ZOETROPE_ALLOWED_HOSTS"):
        load_settings()


def test_only_the_studios_own_pages_may_open_the_event_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOETROPE_PUBLIC_URL", "https://studio.example.org")
    monkeypatch.setenv("ZOETROPE_ALLOWED_HOSTS", "studio.internal")
    assert load_settings().own_origins == (
        "https://studio.example.org",
        "http://127.0.0.1:8400",
        "http://localhost:8400",
        "http://[::1]:8400",
        "http://studio.internal:8400",
        "http://studio.internal",
        "https://studio.internal",
    )


def test_no_other_module_reads_a_setting_from_the_environment() -> None:
    reads = re.compile(r"""(environ(\.get\(|\[)|getenv\()\s*["']ZOETROPE_""")
    root = Path(__file__).resolve().parents[2]
    rooms = ("backend", "frontend", "gpu_worker", "jobs", "moderation")
    files = [root / "rxconfig.py", *(path for room in rooms for path in (root / room).rglob("*.py"))]
    assert [str(path.relative_to(root)) for path in files if reads.search(path.read_text())] == []


def test_each_setting_is_described(repository: Path) -> None:
    words = "".join((repository / name).read_text() for name in ("README.md", "docs/operations.md"))
    assert [name for name in Settings.model_fields if f"ZOETROPE_{name.upper()}" not in words] == []
