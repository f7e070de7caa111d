"""Names of a worker's Valkey keys, arq's envelope as JSON, and parsing of what comes up from a worker."""

import json
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json as read_json

from backend.contracts.heartbeat import Heartbeat
from backend.contracts.report import Report

__all__ = [
    "ORDER_FUNCTION",
    "WORKERS_KEY",
    "Mailbox",
    "from_json",
    "parse_uplink",
    "to_json",
]

WORKERS_KEY = "zoetrope:workers"
ORDER_FUNCTION = "run_order"
UPLINK_FIELD = "m"
UPLINK_MAXLEN = 256
MAX_MESSAGE_BYTES: Final = 256 * 1024
MAX_UPLINK_BYTES: Final = 16 * 2**20
"""Of one worker's whole stream in Valkey, beyond which it is thrown away."""


@dataclass(frozen=True)
class Mailbox:
    """All keys of one worker, under one prefix, so that one access rule fences them."""

    worker_id: str

    @property
    def prefix(self) -> str:
        """What all its keys begin with; a worker's id holds no colon, so no two prefixes overlap."""
        return f"zoetrope:worker:{self.worker_id}:"

    @property
    def orders(self) -> str:
        """The worker's own arq queue."""
        return f"{self.prefix}orders"

    @property
    def uplink(self) -> str:
        """Stream of heartbeats and reports, one field `m` with JSON."""
        return f"{self.prefix}uplink"

    @property
    def wishes(self) -> str:
        """String holding `Wishes`; a channel of the same name wakes the worker."""
        return f"{self.prefix}wishes"


def to_json(envelope: dict[str, Any]) -> bytes:
    """arq's envelope as JSON: a pickle from a queue would let whoever writes to it run code here."""
    return json.dumps(envelope, default=str).encode()


def from_json(data: bytes) -> dict[str, Any]:
    """The inverse of `to_json`."""
    envelope: dict[str, Any] = json.loads(data)
    return envelope


def parse_uplink(raw: str | bytes) -> Heartbeat | Report:
    """Parse one uplink message. Raises `ValueError` (pydantic's too) on anything else, however deep or long it is."""
    if len(raw) > MAX_MESSAGE_BYTES:
        raise ValueError(f"uplink message of {len(raw)} bytes; {MAX_MESSAGE_BYTES} are the most")
    # Not json.loads, which runs out of stack on a deep one.
    data = read_json(raw, allow_inf_nan=False)
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind == "heartbeat":
        return Heartbeat.model_validate(data)
    if kind == "report":
        return Report.model_validate(data)
    raise ValueError(f"uplink message of unknown kind {str(kind)[:40]!r}; expected 'heartbeat' or 'report'")
