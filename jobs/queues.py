"""The control plane's queues: their names, whom each serves, and what is handed over through them."""

from arq.connections import ArqRedis

from backend.contracts import Mailbox, Order
from backend.contracts.arq_queue import enqueue
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


async def hand_over_step(queues: ArqRedis, event: TakenEvent) -> None:
    """Give a taken outbox event to the process that serves its consumer."""
    message = {
        "id": event.id,
        "consumer": event.consumer,
        "subject": event.subject,
        "payload": event.payload,
        "trace_id": event.trace_id,
        "tries": event.tries,
    }
    await enqueue(
        queues,
        QUEUE_OF[event.consumer],
        STEP_FUNCTION,
        message,
        job_id=f"step:{event.id}:{event.tries}",
    )


async def send_order(queues: ArqRedis, order: Order) -> None:
    """Lay an order on its worker's own queue. Sent twice while it lies there, it lies there once."""
    await enqueue(
        queues,
        Mailbox(order.worker_id).orders,
        ORDER_FUNCTION,
        order.model_dump(mode="json"),
        job_id=order.attempt_id,
    )
