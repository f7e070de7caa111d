"""What a GPU host's own Valkey user may do: all that its worker needs, and nothing of anybody else's."""

from typing import Final

from backend.contracts.arq_queue import ABORT_KEY, job_keys
from backend.contracts.wire import Mailbox

_COMMANDS: Final = (
    # The connection's own.
    "auth", "hello", "ping", "quit", "reset", "select", "client|setinfo", "client|setname", "client|id",
    # arq, which looks at the server when it starts.
    "info", "dbsize", "multi", "exec", "discard", "watch", "unwatch", "exists", "get", "psetex", "setex", "incrby",
    "expire", "pexpire", "del", "zadd", "zrangebyscore", "zscore", "zcard", "zrem", "zincrby",
    # What the worker says, and what is wished of it.
    "xadd", "subscribe", "unsubscribe",
)  # fmt: skip


def user_name(worker_id: str) -> str:
    """The Valkey user of a worker."""
    return f"zoetrope-worker-{worker_id}"


def access_rules(worker_id: str) -> tuple[str, ...]:
    """The rules of `ACL SETUSER` that fence a worker; a password is still to be added.

    One shared key can be written to in one way and never read: a set that arq removes every finished job from. That
    takes a selector: Valkey, or Redis 7. The list of workers is not among them: who was let in, the database says.
    """
    mailbox = Mailbox(worker_id)
    keys = (f"{mailbox.prefix}*", *job_keys(mailbox.orders))
    return (
        "reset",
        "on",
        *(f"~{pattern}" for pattern in keys),
        f"&{mailbox.prefix}*",
        *(f"+{command}" for command in _COMMANDS),
        f"(%W~{ABORT_KEY} +zrem)",
    )
