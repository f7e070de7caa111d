"""`zoetrope models` against a hub of the test's own, through the real client of the hub."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backend.recipes import CATALOGUE
from tests.unit.test_weights_check import safetensors

NAME = "ltx-0.9.5"
WEIGHTS = CATALOGUE[NAME].weights
SHARDS = [f"text_encoder/model-0000{number}-of-00002.safetensors" for number in (1, 2)]
INDEX = {
    "_class_name": "LTXPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "LTXVideoTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLLTXVideo"],
}
FILES: dict[str, bytes] = {
    "model_index.json": json.dumps(INDEX).encode(),
    "scheduler/scheduler_config.json": b'{"of": "scheduler"}',
    "text_encoder/config.json": b'{"of": "text_encoder"}',
    "text_encoder/model.safetensors.index.json": json.dumps(
        {"weight_map": {f"layer.{shard}": shard.split("/")[1] for shard in SHARDS}}
    ).encode(),
    SHARDS[0]: safetensors(4000),
    SHARDS[1]: safetensors(5000),
    "tokenizer/spiece.model": b"pieces",
    "tokenizer/tokenizer_config.json": b'{"of": "tokenizer"}',
    "transformer/config.json": b'{"of": "transformer"}',
    "transformer/diffusion_pytorch_model.safetensors": safetensors(6000),
    "vae/config.json": b'{"of": "vae"}',
    "vae/diffusion_pytorch_model.safetensors": safetensors(7000),
}
BESIDE = {
    "ltx-video-2b-v0.9.5.safetensors": safetensors(9000),
    "text_encoder/pytorch_model.bin": b"a pickle",
    "vae/diffusion_pytorch_model.fp16.safetensors": safetensors(100),
    "README.md": b"hello",
}


@dataclass
class Hub:
    """What the hub says: its files, those that break, and a refusal of everything."""

    files: dict[str, bytes] = field(default_factory=lambda: {**FILES, **BESIDE})
    sizes: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    refusal: tuple[int, str] | None = None
    fetched: Counter[str] = field(default_factory=Counter)
    url: str = ""


@pytest.fixture
def hub() -> Iterator[Hub]:
    told = Hub()

    class Handler(BaseHTTPRequestHandler):
        """The three routes that the hub's client asks."""

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            resolve = f"/{WEIGHTS.hub_id}/resolve/{WEIGHTS.hub_revision}/"
            if told.refusal is not None:
                status, code = told.refusal
                self._send(status, b"{}", with_body, {"X-Error-Code": code, "X-Error-Message": code})
            elif path == f"/api/models/{WEIGHTS.hub_id}/tree/{WEIGHTS.hub_revision}":
                listed = [
                    {
                        "type": "file",
                        "path": name,
                        "size": told.sizes.get(name, len(data)),
                        "oid": hashlib.sha1(data).hexdigest(),
                    }
                    for name, data in told.files.items()
                ]
                self._send(200, json.dumps(listed).encode(), with_body, {})
            elif path.startswith(resolve) and (name := path.removeprefix(resolve)) in told.files:
                if with_body:
                    told.fetched[name] += 1
                if with_body and name in told.broken:
                    self._send(500, b"{}", with_body, {})
                    return
                data = told.files[name]
                tag = f'"{hashlib.sha1(data).hexdigest()}"'
                headers = {"X-Repo-Commit": WEIGHTS.hub_revision, "ETag": tag}
                if name in told.sizes:
                    headers["X-Linked-Size"] = str(told.sizes[name])
                self._send(200, data, with_body, headers)
            else:
                self._send(404, b"{}", with_body, {"X-Error-Code": "EntryNotFound"})

        def _send(self, status: int, body: bytes, with_body: bool, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    yield told
    server.shutdown()
    server.server_close()


Models = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def models(hub: Hub, repository: Path, tmp_path: Path) -> Models:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ZOETROPE_"))
        }
        environment |= {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "backend.cli", "models", *arguments],
            cwd=repository,
            env=environment | changes,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def snapshot(tmp_path: Path) -> Path:
    repository = f"models--{(WEIGHTS.hub_id or '').replace('/', '--')}"
    return tmp_path / "hf" / "hub" / repository / "snapshots" / WEIGHTS.hub_revision


def test_from_nothing_to_weights_that_a_worker_can_serve(models: Models, hub: Hub, tmp_path: Path) -> None:
    listed = models("list").stdout
    assert [line.split()[1] for line in listed.splitlines() if line.startswith(NAME)] == ["-"]
    checked = models("check", NAME)
    assert checked.returncode == 1
    assert f"zoetrope models pull {NAME}" in checked.stdout

    pulled = models("pull", NAME)
    assert pulled.returncode == 0, pulled.stderr
    assert str(snapshot(tmp_path)) in pulled.stdout
    assert {name: (snapshot(tmp_path) / name).read_bytes() for name in FILES} == FILES
    assert models("check", NAME).stdout == f"{NAME}: whole\n"
    assert [line.split()[1] for line in models("list").stdout.splitlines() if line.startswith(NAME)] == [
        "here"
    ]


def test_what_is_not_the_pipelines_stays_on_the_hub(models: Models, hub: Hub, tmp_path: Path) -> None:
    assert models("pull", NAME).returncode == 0
    assert set(hub.fetched) == set(FILES)


def test_an_interrupted_pull_goes_on_with_the_files_that_are_not_here(models: Models, hub: Hub) -> None:
    hub.broken = {SHARDS[1]}
    failed = models("pull", NAME)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith(f"zoetrope: {hub.url} answered 500")
    assert "run it again" in failed.stderr
    checked = models("check")
    assert checked.returncode == 1
    assert f"{SHARDS[1]} is missing" in checked.stdout

    hub.broken = set()
    first = Counter(hub.fetched)
    assert models("pull", NAME).returncode == 0
    again = hub.fetched - first
    assert SHARDS[1] in again
    assert not {name for name in again if first[name] and name != SHARDS[1]}


def test_a_second_pull_fetches_nothing(models: Models, hub: Hub) -> None:
    assert models("pull", NAME).returncode == 0
    first = Counter(hub.fetched)
    assert models("pull", NAME).returncode == 0
    assert hub.fetched == first


def test_a_damaged_file_is_found_and_fetched_anew(models: Models, hub: Hub, tmp_path: Path) -> None:
    assert models("pull", NAME).returncode == 0
    file = snapshot(tmp_path) / "vae/diffusion_pytorch_model.safetensors"
    file.resolve().write_bytes(b"\0" * 100)
    checked = models("check", NAME)
    assert checked.returncode == 1
    assert "vae/diffusion_pytorch_model.safetensors is no safetensors file" in checked.stdout
    assert models("pull", NAME).returncode == 0
    assert file.read_bytes() == FILES["vae/diffusion_pytorch_model.safetensors"]


def test_too_small_a_disk_is_said_before_anything_is_fetched(models: Models, hub: Hub) -> None:
    hub.sizes = {SHARDS[0]: 10**15}
    refused = models("pull", NAME)
    assert refused.returncode == 1
    assert "needs 1000002.0 GB" in refused.stderr
    assert "HF_HOME" in refused.stderr
    assert not hub.fetched


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ((403, "GatedRepo"), "HF_TOKEN"),
        ((401, "RepoNotFound"), "is not there, or is private"),
        ((404, "RevisionNotFound"), f"has no revision {WEIGHTS.hub_revision}"),
    ],
)
def test_each_refusal_says_what_to_do(models: Models, hub: Hub, refusal: tuple[int, str], said: str) -> None:
    hub.refusal = refusal
    refused = models("pull", NAME)
    assert refused.returncode == 1
    assert said in refused.stderr.splitlines()[-1]


def test_without_a_network_the_line_says_so(models: Models) -> None:
    away = models("pull", NAME, HF_ENDPOINT="http://127.0.0.1:9")
    assert away.returncode == 1
    assert "http://127.0.0.1:9 can't be reached" in away.stderr.splitlines()[-1]
    offline = models("pull", NAME, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in offline.stderr.splitlines()[-1]


def test_a_measured_model_says_what_its_recipe_should_and_leaves_its_clip(
    models: Models, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    measured = models("measure", "mini", "--steps", "4", "-o", str(clip), ZOETROPE_DEVICE="cpu")
    assert measured.returncode == 0, measured.stderr
    assert "288x288, 17 frames, 4 steps" in measured.stdout
    told = re.search(r"gpu_s_per_mpxf_step=([0-9.e-]+), load_s=([0-9.]+)", measured.stdout)
    assert told is not None
    # A step of 17 frames of 288 x 288, in seconds: between a fast machine's and a busy one's.
    assert 0.001 < float(told[1]) * 1.41 < 60
    assert clip.read_bytes()[4:8] == b"ftyp"
    missing = models("measure", NAME)
    assert missing.returncode == 1
    assert f"zoetrope models pull {NAME}" in missing.stderr


def test_a_model_that_there_is_not_is_one_line_with_those_that_are(models: Models) -> None:
    refused = models("pull", "wan")
    assert refused.returncode == 1
    assert "wan-2.1-1.3b" in refused.stderr
    assert models("pull", "mini").stdout == "mini: ships with Zoetrope, nothing to fetch\n"
