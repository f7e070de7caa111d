import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_torchvision_and_what_needs_it_can_be_imported_after_the_shim() -> None:
    program = (
        "import moderation.torch_shim as shim; shim.install(); shim.install();"
        "import torchvision, open_clip, torch; assert torchvision.ops.nms; print('ready')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "ready"
