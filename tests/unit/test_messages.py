"""Messages between control plane and workers: newer fields are ignored, another protocol is refused."""

import json

import pytest
from pydantic import ValidationError

from backend.contracts import Hardware, Heartbeat, Wishes, parse_uplink

HEARTBEAT = Heartbeat(
    worker_id="w1",
    boot_id="b",
    seq=1,
    version="0",
    hardware=Hardware(hardware_class="test", device="cpu", memory_gb=8),
    recipes=("mini",),
)


def test_a_heartbeat_with_a_field_of_a_newer_worker_is_read() -> None:
    newer = {**json.loads(HEARTBEAT.model_dump_json()), "mood": "good"}
    assert parse_uplink(json.dumps(newer)) == HEARTBEAT


def test_a_message_of_another_protocol_is_refused_both_ways() -> None:
    other = {**json.loads(HEARTBEAT.model_dump_json()), "protocol": 2}
    with pytest.raises(ValueError, match="protocol"):
        parse_uplink(json.dumps(other))
    with pytest.raises(ValidationError, match="protocol"):
        Wishes.model_validate({"worker_id": "w1", "protocol": 2})


def test_a_message_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        parse_uplink('{"kind": "greeting"}')
