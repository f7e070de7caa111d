"""Writing and taking outbox rows. NOTIFY at commit wakes the takers; a poll finds what a lost wake-up left."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.domain.events import Consumer, OutboxEvent

CHANNEL = "zoetrope_outbox"

_PUT = text(
    """
    INSERT INTO outbox (consumer, subject, payload, trace_id, available_at)
    VALUES (:consumer, :subject, :payload, :trace_id, now() + make_interval(secs => :delay_s))
    """
).bindparams(bindparam("payload", type_=JSONB))

_TAKE = text(
    """
    WITH due AS (
        SELECT row.id FROM unnest(CAST(:consumers AS text[])) AS asked(consumer)
        CROSS JOIN LATERAL (
            SELECT id FROM outbox
            WHERE consumer = asked.consumer AND done_at IS NULL AND available_at <= now()
            ORDER BY available_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
        ) AS row
    )
    UPDATE outbox SET tries = tries + 1, available_at = now() + make_interval(secs => :hidden_s)
    FROM due WHERE outbox.id = due.id
    RETURNING outbox.id, consumer, subject, payload, trace_id, tries
    """
)


@dataclass(frozen=True, kw_only=True)
class TakenEvent:
    """An outbox row that the taker has until its time of hiding ends."""

    id: int
    consumer: Consumer
    subject: str
    payload: dict[str, str | int]
    trace_id: str
    tries: int


async def put(session: AsyncSession, events: Sequence[OutboxEvent], *, trace_id: str = "") -> None:
    """Write events in the caller's transaction, and wake their consumers when it commits."""
    for event in events:
        await session.execute(
            _PUT,
            {
                "consumer": event.consumer,
                "subject": event.subject,
                "payload": event.payload,
                "trace_id": trace_id,
                "delay_s": event.delay_s,
            },
        )
    for consumer in {event.consumer for event in events}:
        await session.execute(
            text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": consumer}
        )


async def take(
    session: AsyncSession, *consumers: Consumer, limit: int, hidden: timedelta
) -> list[TakenEvent]:
    """Take due rows, at most `limit` of each of these consumers; nobody else sees them for `hidden`."""
    rows = await session.execute(
        _TAKE,
        {
            "consumers": [consumer.value for consumer in consumers],
            "limit": limit,
            "hidden_s": hidden.total_seconds(),
        },
    )
    return sorted(
        (
            TakenEvent(
                id=row.id,
                consumer=Consumer(row.consumer),
                subject=row.subject,
                payload=row.payload,
                trace_id=row.trace_id,
                tries=row.tries,
            )
            for row in rows
        ),
        key=lambda event: event.id,
    )


async def begin(session: AsyncSession, event_id: int) -> int | None:
    """The consumer begins to work on a row. How often it was begun and neither ended well nor failed since, this time
    counted: above 1, whoever did the others died in them. None: it is done.
    """
    begun = await session.execute(
        text("UPDATE outbox SET begun = begun + 1 WHERE id = :id AND done_at IS NULL RETURNING begun"),
        {"id": event_id},
    )
    return begun.scalar_one_or_none()


async def mark_done(session: AsyncSession, ids: Sequence[int]) -> None:
    """The consumer's work for these rows is committed with this."""
    if ids:
        await session.execute(
            text("UPDATE outbox SET done_at = now() WHERE id = ANY(:ids) AND done_at IS NULL"),
            {"ids": list(ids)},
        )


async def mark_failed(session: AsyncSession, event_id: int, error: str, *, retry_in: timedelta) -> None:
    """The consumer failed; the row comes back after `retry_in`."""
    await session.execute(
        text(
            "UPDATE outbox SET last_error = :error, begun = 0, available_at = now() + make_interval(secs => :retry_s)"
            " WHERE id = :id AND done_at IS NULL"
        ),
        {"id": event_id, "error": error[:500], "retry_s": retry_in.total_seconds()},
    )


async def sweep(session: AsyncSession, *, older_than: timedelta, limit: int = 5_000) -> int:
    """Delete rows that were done long ago; returns how many."""
    result = await session.execute(
        text(
            "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE done_at < now() -"
            " make_interval(secs => :age_s) LIMIT :limit)"
        ),
        {"age_s": older_than.total_seconds(), "limit": limit},
    )
    return int(getattr(result, "rowcount", 0))
