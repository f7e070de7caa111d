"""Tell whoever started this process that it does its work now, and goes on: by systemd's protocol (sd_notify)."""

import os
import socket


def notify_ready() -> None:
    """Sends READY=1 to NOTIFY_SOCKET; does nothing where nobody waits for it."""
    _send(b"READY=1")


def notify_alive() -> None:
    """Sends WATCHDOG=1, without waiting for a listener that is busy."""
    _send(b"WATCHDOG=1", socket.MSG_DONTWAIT)


def _send(message: bytes, flags: int = 0) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, flags, address)
    except OSError:
        # Whoever waited is gone, or has a full box; the work goes on without being announced.
        return
