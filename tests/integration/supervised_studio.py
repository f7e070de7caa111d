"""A small studio for the supervisor's tests: real Postgres and Valkey, and stand-ins for the four parts.

Run as a script; its settings come by the environment.
"""

import sys
from pathlib import Path

from backend.cli.studio import say
from backend.operator_errors import OperatorError
from backend.parts import WORKER_SETTINGS, Part, web_answers
from backend.settings import Settings, load_settings
from backend.supervisor import SILENT_AFTER_S, Supervisor

SOON_SILENT_S = 2.0

WEB = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"checks": {"worker": "ok"}}')
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

# Has a child of its own, says what it was told, and hands back on TERM.
WORKER = """
import os, pathlib, signal, subprocess, sys
from backend.notify import notify_ready
folder = pathlib.Path(sys.argv[1])
grandchild = subprocess.Popen(["sleep", "600"])
def hand_back(*_):
    (folder / "handed-back").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, hand_back)
(folder / "grandchild").write_text(str(grandchild.pid))
(folder / "told").write_text("\\n".join(sorted(name for name in os.environ if name.startswith("ZOETROPE_"))))
notify_ready()
signal.pause()
"""

# Fails twice, then stays, and says so.
FLAKY = """
import pathlib, sys, time
from backend.notify import notify_alive, notify_ready
tries = pathlib.Path(sys.argv[1]) / "tries"
count = len(tries.read_text()) if tries.exists() else 0
tries.write_text("x" * (count + 1))
if count < 2:
    raise RuntimeError("not yet")
notify_ready()
while True:
    notify_alive()
    time.sleep(0.1)
"""

# Can't start as it is set up.
REFUSED = """
import sys
print("zoetrope worker: ZOETROPE_DEVICE=cuda, but there is no GPU: set it to auto", file=sys.stderr)
sys.exit(78)
"""

PREPARATION = """
import pathlib, sys
pathlib.Path(sys.argv[1]).write_text("http://127.0.0.1/sign-in/once")
"""


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def stand_ins(folder: Path, worker: str) -> list[Part]:
    def web(settings: Settings) -> list[str]:
        return [*script(WEB), str(settings.port)]

    return [
        Part(name="web", stop_rank=1, stop_grace_s=5, needs_database=True, command=web, answers=web_answers),
        Part(
            name="moderator",
            stop_rank=1,
            stop_grace_s=5,
            needs_database=True,
            command=lambda _: [*script(FLAKY), str(folder)],
        ),
        Part(
            name="worker",
            stop_rank=0,
            stop_grace_s=5,
            needs_database=False,
            command=lambda _: [*script(worker), str(folder)],
            settings=WORKER_SETTINGS,
        ),
    ]


def main() -> int:
    try:
        settings = load_settings()
        Supervisor(
            settings=settings,
            say=say,
            parts=stand_ins(settings.data_dir, REFUSED if "refused" in sys.argv else WORKER),
            preparation=tuple(script(PREPARATION)),
            durable=False,
            silent_after_s=SOON_SILENT_S if "soon-silent" in sys.argv else SILENT_AFTER_S,
        ).run()
    except OperatorError as error:
        print(f"zoetrope: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
