"""What ships names no folder of the machine that made it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("backend", "docs", "frontend", "gpu_worker", "jobs", "moderation", "reflex.lock", "tools")
KINDS = {".json", ".toml", ".md", ".sh", ".txt"}
HOMES = re.compile(r"(?<![\w.$~-])/(?:root|home/\w+|Users/\w+|work|tmp)/[\w.-]+")


def test_no_shipped_file_names_a_folder_of_a_machine() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in KINDS]
    files += [ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "constraints.txt")]
    found = {str(path.relative_to(ROOT)): HOMES.findall(path.read_text(errors="replace")) for path in files}
    assert {name: paths for name, paths in found.items() if paths} == {}
