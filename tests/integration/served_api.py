"""The API served by the real server in a process of its own, for clients that want a real socket."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


@contextmanager
def serve_api(environment: Callable[..., dict[str, str]], folder: Path, **settings: str) -> Iterator[str]:
    """Run granian over the API; yields its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--log-level", "warning", "backend.api.app:create_app"]
    log_path = folder / "api.log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            command,
            env=environment(data_dir=str(folder / "data"), port=str(port), **settings),
            stdout=log,
            stderr=log,
            cwd=Path(__file__).resolve().parents[2],
        )
    base_url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120  # a busy machine takes its time to import
        while True:
            try:
                if httpx.get(f"{base_url}/healthz").is_success:
                    break
            except httpx.TransportError:
                assert server.poll() is None, log_path.read_text()
                assert time.monotonic() < deadline, log_path.read_text()
                time.sleep(0.05)
        yield base_url
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
