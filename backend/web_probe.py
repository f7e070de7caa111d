"""Asking a web process how the studio is, without the libraries of an HTTP client: the supervisor starts with this."""

import http.client
import json
from urllib.parse import urlsplit

from backend.settings import Settings, url_host

TIMEOUT_S = 2.0
_MOST_BYTES = 64 * 1024


def own_address(settings: Settings) -> str:
    """Where this machine reaches the web process that these settings start."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://{url_host(host)}:{settings.port}"


def lives(base_url: str) -> bool:
    """Whether a web process answers its health check there."""
    answer = _asked(base_url, "/healthz")
    return answer is not None and answer[0] == 200


def what_is_missing(base_url: str) -> list[str] | None:
    """What keeps the studio there from making clips, as `/readyz` says it; None where no studio answers."""
    answer = _asked(base_url, "/readyz")
    if answer is None:
        return None
    try:
        checks = json.loads(answer[1])["checks"]
        return [f"{name} ({state})" for name, state in checks.items() if state != "ok"]
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _asked(base_url: str, path: str) -> tuple[int, bytes] | None:
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
