"""Outbox events: one row a consumer. A step never calls the next one; it writes these."""

from dataclasses import dataclass, field
from enum import StrEnum


class Consumer(StrEnum):
    """Who takes an outbox row."""

    SCREEN_INPUT = "screen_input"
    DISPATCH = "dispatch"
    MODERATE = "moderate"
    PUBLISH = "publish"
    APPLY_DECISION = "apply_decision"
    SWEEP = "sweep"


SWEEP_DELAY_S = 180.0
"""From a job's end to its first sweep: what its worker was just writing goes too."""


@dataclass(frozen=True, kw_only=True)
class OutboxEvent:
    """What one consumer is to do with one subject. Payloads hold ids, never prompts."""

    consumer: Consumer
    subject: str
    payload: dict[str, str | int] = field(default_factory=dict)
    delay_s: float = 0.0
