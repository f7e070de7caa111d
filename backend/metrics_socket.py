"""How figures leave a process: on an address of its own for Prometheus, or on a socket for its studio's web process.

`zoetrope up` gives its parts a folder for such sockets, so that the one address of the web process shows all of them.
A part that doesn't answer has no figures, and that is shown too.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from backend import metrics
from backend.log import get_logger
from backend.settings import Settings

log = get_logger(__name__)

ANSWER_S = 1.0
MAX_ANSWER_BYTES = 8 * 2**20
_PREFIX, _SUFFIX = "stats-", ".sock"


@asynccontextmanager
async def offered_metrics(settings: Settings, part: str) -> AsyncIterator[None]:
    """Give this process's figures while the block runs, wherever the settings say; nowhere by default.

    An address that can't be used is a line in the log: figures are no reason not to work.
    """
    async with AsyncExitStack() as offered:
        try:
            if settings.metrics_sockets is not None:
                await _on_socket(settings.metrics_sockets / f"{_PREFIX}{part}{_SUFFIX}", offered)
            if settings.metrics_listen:
                host, _, port = settings.metrics_listen.rpartition(":")
                server, _thread = start_http_server(int(port), addr=host, registry=metrics.REGISTRY)
                offered.callback(server.server_close)
                offered.callback(server.shutdown)
        except OSError as error:
            log.error("metrics.not_offered", part=part, error=type(error).__name__)
        yield


async def figures_of_all(folder: Path | None, own_part: str = "web") -> bytes:
    """In Prometheus' text: this process's figures, those given in `folder`, each with its `part`, and the studio's."""
    parts = _sockets_in(folder)
    answers = await asyncio.gather(*(_ask(path) for path in parts.values()))
    families = dict(zip(parts, answers, strict=True)) | {own_part: list(metrics.REGISTRY.collect())}
    together = CollectorRegistry()
    together.register(_Together(families))
    return generate_latest(together) + generate_latest(metrics.STUDIO)


class _Together(Collector):
    """Families of several processes as one, their samples told apart by `part`. None: it didn't answer."""

    def __init__(self, families: Mapping[str, list[Metric] | None]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families, each once."""
        up = GaugeMetricFamily("zoetrope_part_up", "1 where a part of this studio answered", labels=["part"])
        merged: dict[str, Metric] = {}
        for part, families in self._families.items():
            up.add_metric([part], 0.0 if families is None else 1.0)
            for family in families or ():
                one = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                one.samples.extend(
                    sample._replace(labels={**sample.labels, "part": part}) for sample in family.samples
                )
        yield up
        yield from merged.values()


def _sockets_in(folder: Path | None) -> dict[str, Path]:
    found = () if folder is None else sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))
    return {_part_of(path): path for path in found}


def _part_of(path: Path) -> str:
    return path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)


async def _on_socket(path: Path, offered: AsyncExitStack) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                writer.write(generate_latest(metrics.REGISTRY))
                await writer.drain()
        except (OSError, TimeoutError):
            return
        finally:
            writer.close()

    # What a killed process left is in the way; a supervisor starts a part only once the last one is gone.
    _remove(path)
    server = await asyncio.start_unix_server(answer, path)
    offered.callback(_remove, path)
    offered.callback(server.close)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _ask(path: Path) -> list[Metric] | None:
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                answer = bytearray()
                while (chunk := await reader.read(2**16)) and len(answer) < MAX_ANSWER_BYTES:
                    answer += chunk
            finally:
                writer.close()
        return list(text_string_to_metric_families(answer.decode()))
    except (OSError, TimeoutError, ValueError) as error:
        log.info("metrics.unanswered", part=_part_of(path), error=type(error).__name__)
        return None
