"""The worker's own arq queue, kept open for ever. It hands an order over; carrying it out is the loop's."""

from collections.abc import Callable
from typing import Any

from arq.worker import func

from backend.contracts import Mailbox
from backend.contracts.arq_queue import serve_queue
from backend.contracts.wire import ORDER_FUNCTION

AT_ONCE = 10
HANDOVER_TIMEOUT_S = 20


async def serve_orders(redis_url: str, worker_id: str, accept: Callable[[object], None]) -> None:
    """Hand every order of this worker's queue to `accept`, until cancelled."""

    async def run_order(_context: dict[str, Any], order: object) -> None:
        accept(order)

    await serve_queue(
        redis_url,
        Mailbox(worker_id).orders,
        func(run_order, name=ORDER_FUNCTION, timeout=HANDOVER_TIMEOUT_S),  # type: ignore[arg-type]  # arq's protocol names its parameters
        at_once=AT_ONCE,
    )
