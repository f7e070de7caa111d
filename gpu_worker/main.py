"""The worker process: settings, engine, loop, and what signals do to them."""

import asyncio
import os
import secrets
import signal
import sys

from redis.asyncio import Redis

from backend.ending import end_tasks
from backend.log import configure_logging, get_logger
from backend.metrics_socket import offered_metrics
from backend.notify import notify_ready
from backend.operator_errors import OperatorError
from backend.own_thread import in_own_thread, leave
from backend.recipes import DEFAULT_RECIPE
from backend.scratch import keep_swept
from backend.settings import EngineKind, Settings, load_settings
from backend.version import installed_version
from gpu_worker.engine import Engine
from gpu_worker.loop import WorkerLoop
from gpu_worker.objects import ObjectClient
from gpu_worker.order_queue import serve_orders
from gpu_worker.served import chosen_recipes
from gpu_worker.uplink import Uplink

log = get_logger(__name__)

FORCED_EXIT_CODE = 130


def main() -> int:
    """Run one worker until a signal. The first INT or TERM hands jobs back; a second exits at once."""
    try:
        settings = load_settings()
        redis_url = settings.require_redis_url()
    except OperatorError as error:
        print(f"zoetrope worker: {error}", file=sys.stderr)
        return error.exit_code
    configure_logging("worker", settings.log_level)
    try:
        asyncio.run(_serve(settings, redis_url))
    except OperatorError as error:
        print(f"zoetrope worker: {error}", file=sys.stderr)
        leave(error.exit_code)
    leave(0)


def make_engine(settings: Settings) -> Engine:
    """The engine that the settings name. Only the diffusers engine imports torch."""
    if settings.engine is EngineKind.FAKE:
        from gpu_worker.fake_engine import FakeEngine

        return FakeEngine()
    # Read by OpenMP when torch is loaded: threads that spin would starve the other processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from gpu_worker.diffusers_engine import DiffusersEngine

    return DiffusersEngine(settings.device)


async def _serve(settings: Settings, redis_url: str) -> None:
    boot_id, recipes = secrets.token_hex(8), chosen_recipes(settings.models)
    ending = _on_signals()
    sweeping = asyncio.create_task(keep_swept())
    signalled = asyncio.create_task(ending.wait())
    # Importing torch and diffusers takes seconds, in which a signal must still be obeyed.
    starting = asyncio.create_task(in_own_thread(lambda: make_engine(settings)))
    await asyncio.wait({starting, signalled}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        log.info("worker.ended", worker_id=settings.worker_id)
        return
    engine = starting.result()
    redis = Redis.from_url(redis_url, socket_connect_timeout=3.0, socket_timeout=10.0)
    async with offered_metrics(settings, "worker"), ObjectClient(settings.control_url) as objects:
        loop = WorkerLoop(
            worker_id=settings.worker_id,
            boot_id=boot_id,
            version=installed_version(),
            engine=engine,
            uplink=Uplink(redis, settings.worker_id),
            objects=objects,
            recipes=recipes,
        )
        log.info("worker.started", worker_id=settings.worker_id, boot_id=boot_id, engine=settings.engine)
        orders = asyncio.create_task(serve_orders(redis_url, settings.worker_id, loop.accept))
        running = asyncio.create_task(loop.run())
        warming = asyncio.create_task(
            loop.warm_up(DEFAULT_RECIPE if DEFAULT_RECIPE in recipes else next(iter(recipes)))
        )
        notify_ready()
        await asyncio.wait({orders, running, signalled}, return_when=asyncio.FIRST_COMPLETED)
        for task in (orders, running):
            if task.done():
                task.result()
        await end_tasks(warming, orders, sweeping, within_s=3.0)
        await loop.drain()
        await end_tasks(running, within_s=1.0)
        log.info("worker.ended", worker_id=settings.worker_id)


def _on_signals() -> asyncio.Event:
    ending = asyncio.Event()

    def obey() -> None:
        if ending.is_set():
            os._exit(FORCED_EXIT_CODE)
        log.info("worker.draining")
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, obey)
    return ending


if __name__ == "__main__":
    raise SystemExit(main())
