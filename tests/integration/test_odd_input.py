"""Whatever is sent to the described API, it never answers with a 500 (schemathesis, a short seeded piece)."""

import subprocess
import sys
from pathlib import Path

from tests.integration.test_video_routes import Api, api, folder, served

__all__ = ["api", "folder", "served"]


async def test_no_described_route_answers_500_to_odd_input(api: Api, tmp_path: Path) -> None:
    key = await api.key(credit=100_000)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{api.url}/v1/openapi.json",
        "--header", f"Authorization: Bearer {key}",
        "--checks", "not_a_server_error",
        "--max-examples", "5",
        "--seed", "1",
        "--phases", "examples,fuzzing",
        "--exclude-path-regex", "events$",
        "--request-timeout", "20",
        "--suppress-health-check", "all",
        "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert "Tested: 12" in done.stdout, done.stdout[-3000:]
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
