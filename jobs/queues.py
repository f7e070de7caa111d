"""arq as a thin transport: queue names, JSON instead of pickle, one way to hand something over."""

import json
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool

from backend.contracts import Mailbox, Order
from backend.contracts.wire import ORDER_FUNCTION
from backend.db.outbox import TakenEvent
from backend.domain.events import Consumer

CONTROL_QUEUE = "zoetrope:control:steps"
MODERATION_QUEUE = "zoetrope:moderation:steps"
STEP_FUNCTION = "take_step"

QUEUE_OF: dict[Consumer, str] = {
    Consumer.SCREEN_INPUT: MODERATION_QUEUE,
    Consumer.MODERATE: MODERATION_QUEUE,
    Consumer.PUBLISH: CONTROL_QUEUE,
    Consumer.APPLY_DECISION: CONTROL_QUEUE,
    Consumer.SWEEP: CONTROL_QUEUE,
}
"""Consumers that are served through arq. DISPATCH is the leader's own."""


def to_json(value: dict[str, Any]) -> bytes:
    """arq's envelope as JSON: a pickle from a queue would let whoever writes to it run code here."""
    return json.dumps(value, default=str).encode()


def from_json(data: bytes) -> dict[str, Any]:
    """The inverse of `to_json`."""
    value: dict[str, Any] = json.loads(data)
    return value


def open_queues(url: str) -> ArqRedis:
    """A connection that can enqueue; its time-outs are short, since every caller comes back."""
    pool = ConnectionPool.from_url(url, socket_connect_timeout=2.0, socket_timeout=10.0)
    return ArqRedis(pool, job_serializer=to_json, job_deserializer=from_json)


async def hand_over_step(queues: ArqRedis, event: TakenEvent) -> None:
    """Give a taken outbox event to the process that serves its consumer."""
    await queues.enqueue_job(
        STEP_FUNCTION,
        {
            "id": event.id,
            "consumer": event.consumer,
            "subject": event.subject,
            "payload": event.payload,
            "trace_id": event.trace_id,
            "tries": event.tries,
        },
        _queue_name=QUEUE_OF[event.consumer],
        _job_id=f"step:{event.id}:{event.tries}",
    )


async def send_order(queues: ArqRedis, order: Order) -> None:
    """Lay an order on its worker's own queue. Sent twice while it lies there, it lies there once."""
    await queues.enqueue_job(
        ORDER_FUNCTION,
        order.model_dump(mode="json"),
        _queue_name=Mailbox(order.worker_id).orders,
        _job_id=order.attempt_id,
    )
