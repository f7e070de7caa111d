"""Figures: none is only a name, and those of several processes are read at one address."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from backend import metrics
from backend.metrics_socket import ANSWER_S, figures_of_all, offered_metrics
from backend.settings import Settings

NAMED = {name: made for name, made in vars(metrics).items() if isinstance(made, MetricWrapperBase)}


def test_every_metric_is_moved_by_some_code(repository: Path) -> None:
    rooms = ("backend", "frontend", "gpu_worker", "jobs", "moderation")
    sources = [
        path for room in rooms for path in (repository / room).rglob("*.py") if path.name != "metrics.py"
    ]
    code = "\n".join(path.read_text() for path in sources)
    assert [name for name in NAMED if not re.search(rf"metrics\.{name}\b", code)] == []


def test_names_say_what_they_count_in_base_units() -> None:
    for made in NAMED.values():
        (family,) = made.describe()
        assert family.name.startswith("zoetrope_")
        assert not re.search(r"_(ms|millis|minutes|mb|percent)(_|$)", family.name)
        assert isinstance(made, Counter | Gauge | Histogram)
        if isinstance(made, Histogram):
            assert family.name.endswith(("_seconds", "_clips"))


def families_of(text: str) -> dict[str, dict[str, float]]:
    """Values of unlabelled-but-for-part samples: name -> part -> value. Fails where a family stands twice."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in found
        found[family.name] = {
            sample.labels["part"]: sample.value for sample in family.samples if set(sample.labels) == {"part"}
        }
    return found


async def test_the_figures_of_all_parts_are_shown_together(short_tmp: Path) -> None:
    settings = Settings(metrics_sockets=short_tmp)
    metrics.leader.set(1)
    async with offered_metrics(settings, "control"), offered_metrics(settings, "worker"):
        together = families_of((await figures_of_all(short_tmp)).decode())
    metrics.leader.set(0)
    assert together["zoetrope_leader"] == {"control": 1, "worker": 1, "web": 1}
    assert together["zoetrope_part_up"] == {"control": 1, "worker": 1, "web": 1}
    alone = families_of((await figures_of_all(short_tmp)).decode())
    assert alone["zoetrope_part_up"] == {"web": 1}


async def test_one_without_a_folder_shows_its_own(short_tmp: Path) -> None:
    assert families_of((await figures_of_all(None)).decode())["zoetrope_part_up"] == {"web": 1}


@asynccontextmanager
async def silent_socket(path: Path) -> AsyncIterator[None]:
    server = await asyncio.start_unix_server(lambda _reader, _writer: None, path)
    try:
        yield
    finally:
        server.close()


async def test_a_part_that_died_or_hangs_is_shown_as_down_within_its_second(short_tmp: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(short_tmp / "stats-moderator.sock"))
    dead.close()
    began = asyncio.get_running_loop().time()
    async with silent_socket(short_tmp / "stats-worker.sock"):
        shown = families_of((await figures_of_all(short_tmp)).decode())
    assert asyncio.get_running_loop().time() - began < ANSWER_S + 2
    assert shown["zoetrope_part_up"] == {"moderator": 0, "worker": 0, "web": 1}


async def test_a_part_takes_over_the_socket_that_a_killed_one_left(short_tmp: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(short_tmp / "stats-control.sock"))
    left.close()
    async with offered_metrics(Settings(metrics_sockets=short_tmp), "control"):
        shown = families_of((await figures_of_all(short_tmp)).decode())
    assert shown["zoetrope_part_up"]["control"] == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_part_on_a_host_of_its_own_is_scraped_at_its_own_address() -> None:
    port = free_port()
    async with offered_metrics(Settings(metrics_listen=str(port)), "worker"), httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics")
    assert "zoetrope_denoise_step_duration_seconds" in answer.text
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


async def test_an_address_in_use_does_not_keep_a_part_from_its_work() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        worked = False
        async with offered_metrics(Settings(metrics_listen=str(taken.getsockname()[1])), "worker"):
            worked = True
    assert worked


@pytest.mark.parametrize("value", ["nowhere", "127.0.0.1:", "127.0.0.1:99999", "0"])
def test_an_address_without_a_port_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="9464"):
        Settings(metrics_listen=value)


def test_a_bare_port_is_on_loopback_alone() -> None:
    assert Settings(metrics_listen="9464").metrics_listen == "127.0.0.1:9464"
    assert Settings(metrics_listen="0.0.0.0:9464").metrics_listen == "0.0.0.0:9464"
