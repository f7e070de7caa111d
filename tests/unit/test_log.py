import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import BaseModel, ValidationError
from reflex.app import EventNamespace

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


MARKER = "a heron stands in the reeds"


class _Prompt(BaseModel):
    prompt: int


def test_an_error_that_quotes_a_value_is_logged_without_it(lines: io.StringIO) -> None:
    log = get_logger("test")
    try:
        _Prompt.model_validate({"prompt": MARKER})
    except ValidationError:
        log.exception("failed")
    for said in (
        f"duplicate key value violates unique constraint\nDETAIL:  Key (x)=({MARKER},\n{MARKER}) already exists.",
        f"<class 'asyncpg.exceptions.DataError'>: invalid input for query argument $2: '{MARKER}' (no)",
        f"(asyncpg.Error) <class 'asyncpg'>: invalid input syntax for type integer: \"{MARKER}\"",
        "no letter for heron@reeds.example.org",
    ):
        try:
            raise RuntimeError(said)
        except RuntimeError:
            log.exception("failed")
    assert "heron" not in lines.getvalue()
    assert "unique constraint" in lines.getvalue()
    assert "invalid input syntax for type integer" in lines.getvalue()
    log.debug("failed", error=f"DETAIL:  Key (x)=({MARKER})")
    assert "heron" in lines.getvalue()


@pytest.mark.parametrize(
    "event", [f'{{"payload": "{MARKER}"}}', f"{MARKER}, no JSON", [MARKER], {"payload": MARKER}]
)
@pytest.mark.parametrize("known", [True, False])
async def test_an_event_that_reflex_cannot_read_is_not_written_down(
    lines: io.StringIO, event: object, known: bool
) -> None:
    namespace = object.__new__(EventNamespace)
    namespace._token_manager = type("Tokens", (), {"sid_to_token": {"sid": "token"} if known else {}})()  # type: ignore[assignment]  # all that is asked of it here
    try:
        await namespace.on_event("sid", event)
        assert not known
    except Exception:
        logging.getLogger("engineio.server").exception("message handler error")
    assert "library.said" in lines.getvalue()
    assert "on_event" in lines.getvalue()
    assert "heron" not in lines.getvalue()


def test_socket_libraries_have_no_log_of_their_own(lines: io.StringIO) -> None:
    own = logging.getLogger("engineio.server")
    own.addHandler(logging.StreamHandler())
    configure_logging("web", LogLevel.INFO, lines)
    assert own.handlers == []


def test_a_library_that_anybody_can_make_talk_fills_no_log(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("backend.log_allowance.time.monotonic", lambda: now_s)

    def written() -> int:
        return len(lines.getvalue().splitlines())

    for _ in range(500):
        logging.getLogger("engineio.server").error("a message that is none")
    assert written() == 30
    logging.getLogger("sqlalchemy.pool").error("ours to know")
    get_logger("jobs.dispatch").info("job.dispatched")
    assert written() == 32
    now_s += 61
    logging.getLogger("socketio.server").error("once more")
    assert written() == 33
