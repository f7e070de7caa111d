import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from backend.log import DROPPED, configure_logging, get_logger
from backend.settings import LogLevel


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("web", LogLevel.DEBUG, stream)
    yield stream
    root.handlers = before
    root.setLevel(level)
    structlog.reset_defaults()


def read(stream: io.StringIO) -> dict[str, object]:
    parsed = json.loads(stream.getvalue().splitlines()[-1])
    assert isinstance(parsed, dict)
    return parsed


def test_a_line_is_json_with_its_event_and_keys(lines: io.StringIO) -> None:
    get_logger("jobs.dispatch").info("job.dispatched", job_id="video_1", attempt=2)
    line = read(lines)
    assert line["event"] == "job.dispatched"
    assert (line["job_id"], line["attempt"], line["part"], line["level"]) == ("video_1", 2, "web", "info")


def test_what_people_wrote_is_kept_out_of_info_and_shown_at_debug(lines: io.StringIO) -> None:
    log = get_logger("test")
    log.info("job.submitted", prompt="a red circle")
    assert read(lines)["prompt"] == DROPPED
    log.debug("job.submitted", prompt="a red circle")
    assert read(lines)["prompt"] == "a red circle"


def test_secrets_are_never_written(lines: io.StringIO) -> None:
    log = get_logger("test")
    log.debug("x", password="hunter2", authorization="Bearer sk-zoe-abcdefghijkl")
    assert "hunter2" not in lines.getvalue()
    log.error(
        "fetch https://host/objects/a?exp=1&sig=abc failed for postgresql://zoe:pw@db/x sk-1234567890abcdef"
    )
    text = lines.getvalue()
    assert "sig=abc" not in text
    assert "zoe:pw@" not in text
    assert "567890abcdef" not in text
    assert "abcdefghijkl" not in text


def test_lines_of_the_standard_library_get_the_same_form(lines: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("somebody").exception("it failed for %s", "a reason")
    line = read(lines)
    assert line["event"] == "it failed for a reason"
    assert "ValueError: broken" in str(line["exception"])
