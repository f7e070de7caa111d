"""Messages of workers that were not taken: each is counted, and told of now and then."""

from dataclasses import dataclass

from backend import metrics
from backend.clock import Clock
from backend.log import get_logger

log = get_logger(__name__)

TELL_EVERY_S = 10.0


@dataclass
class _Told:
    at_s: float
    since: int = 0


class Refusals:
    """Logs a worker's refused messages once in `TELL_EVERY_S` for each reason: a flood of them is one line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], _Told] = {}

    def note(self, worker_id: str, reason: str, error: BaseException | None = None) -> None:
        """One message (or stream) of this worker was refused."""
        metrics.uplink_refused.labels(reason).inc()
        now_s = self._clock.monotonic()
        told = self._told.get((worker_id, reason))
        if told is not None and now_s - told.at_s < TELL_EVERY_S:
            told.since += 1
            return
        log.warning(
            f"collect.{reason}",
            worker_id=worker_id,
            count=1 + (told.since if told is not None else 0),
            exc_info=error,
        )
        self._told[worker_id, reason] = _Told(at_s=now_s)
