"""Tell whoever started this process that it does its work now, by systemd's protocol (sd_notify)."""

import os
import socket


def notify_ready() -> None:
    """Sends READY=1 to NOTIFY_SOCKET; does nothing where nobody waits for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", address)
    except OSError:
        # Whoever waited is gone; the work goes on without being announced.
        return
