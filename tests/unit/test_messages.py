"""Messages between control plane and workers: newer fields are ignored, another protocol is refused."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from backend.contracts import FailureCause, Hardware, Heartbeat, Outcome, Report, Wishes, parse_uplink
from backend.contracts.bounds import MAX_PROSE
from backend.contracts.wire import MAX_MESSAGE_BYTES

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


def unbounded(name: str, schema: dict[str, Any], defs: dict[str, Any]) -> Iterator[str]:
    """Fields of a JSON schema that may hold anything, or any amount of it."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    for each in schema.get("anyOf", ()):
        yield from unbounded(name, each, defs)
    if "const" in schema or "enum" in schema:
        return
    match schema.get("type"):
        case "string" if "maxLength" not in schema:
            yield name
        case "integer" | "number" if not {"minimum", "maximum"} <= schema.keys():
            yield name
        case "array":
            if "maxItems" not in schema:
                yield name
            yield from unbounded(f"{name}[]", schema["items"], defs)
        case "object":
            if "properties" not in schema:
                yield name
            for field, inner in schema.get("properties", {}).items():
                yield from unbounded(f"{name}.{field}", inner, defs)


@pytest.mark.parametrize("message", [Heartbeat, Report])
def test_all_that_a_worker_may_say_is_bounded(message: type[Heartbeat | Report]) -> None:
    schema = message.model_json_schema()
    assert list(unbounded(message.__name__, schema, schema["$defs"])) == []


def heartbeat(**fields: object) -> str:
    return json.dumps({**json.loads(HEARTBEAT.model_dump_json()), **fields})


@pytest.mark.parametrize(
    "raw",
    [
        "[" * 100_000,
        b"\xff\xfe",
        " " * MAX_MESSAGE_BYTES + heartbeat(),
        heartbeat(worker_id="w1:x"),
        heartbeat(boot_id="b\0"),
        heartbeat(boot_id="b\ud800"),
        heartbeat(version="a\nb"),
        heartbeat(seq=-1),
        heartbeat(seq=10**400),
        heartbeat(recipes=["mini"] * 1000),
        heartbeat(hardware={"hardware_class": "h", "device": "d", "memory_gb": float("inf")}),
        heartbeat(hardware={"hardware_class": "h", "device": "d", "memory_gb": float("nan")}),
    ],
    ids=[
        "deep", "no text", "long", "a foreign id", "NUL", "half a character", "two lines", "below nought", "huge",
        "many", "without end", "no number",
    ],
)  # fmt: skip
def test_what_no_worker_says_is_refused_as_a_value(raw: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_uplink(raw)


def test_no_text_of_an_error_keeps_a_report_from_being_read() -> None:
    report = Report(
        worker_id="w1", boot_id="b", attempt_id="a", job_id="j", fence=1, outcome=Outcome.FAILED,
        cause=FailureCause.ENGINE_ERROR, message="a\0b\ud800" + "x" * 100_000,
    )  # fmt: skip
    assert report.message.startswith("a b?x")
    assert len(report.message) == MAX_PROSE
    assert parse_uplink(report.model_dump_json()) == report
