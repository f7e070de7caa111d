"""What anybody's events may do: how many wait, what outlives a socket, what is called at all, what the log keeps."""

import time
import uuid
from collections.abc import Callable

import httpx
import pytest
from structlog.testing import capture_logs

from frontend.event_gate import MOST_WAITING, TOO_MANY
from frontend.gateway import Unavailable
from frontend.states.failures import MOST_LINES, SparingLog, answer
from tests.ui.raw_socket import RawSocket, raw_socket

STATE = "reflex___state____state"
JOBS = f"{STATE}.frontend___states___session____session.frontend___states___jobs____jobs"
GALLERY = f"{JOBS}.frontend___states___gallery____gallery"
DOOR = f"{STATE}.frontend___states___door____door.open"
CREATOR = "zoetrope_session=creator"
ANSWER = "42/_event,"


def work(url: str) -> dict[str, int]:
    found: dict[str, int] = httpx.get(url + "/work").json()
    return found


def wait_until(url: str, reached: Callable[[dict[str, int]], bool]) -> None:
    until = time.monotonic() + 30
    while not reached(now := work(url)):
        assert time.monotonic() < until, now
        time.sleep(0.05)


def ask_at_the_door(tab: RawSocket) -> None:
    """An event that anybody may fire; a new invitation each time, so that there is an answer."""
    tab.fire(DOOR, query={"invitation": uuid.uuid4().hex})


def test_a_tab_follows_once_however_often_it_asks(served: str) -> None:
    before = work(served)
    with raw_socket(served, token=str(uuid.uuid4()), cookie=CREATOR) as tab:
        tab.open_pages()
        for times in range(1, 6):
            for handler in (f"{JOBS}.watch", f"{GALLERY}.follow"):
                tab.fire(handler)
            wait_until(
                served, lambda now, times=times: now["watches_begun"] == before["watches_begun"] + 2 * times
            )
        wait_until(served, lambda now: now["watching"] == before["watching"] + 2)


def test_nothing_follows_for_a_tab_that_is_gone(served: str) -> None:
    before = work(served)
    with raw_socket(served, token=str(uuid.uuid4()), cookie=CREATOR) as tab:
        tab.open_pages()
        tab.fire(f"{JOBS}.watch")
        wait_until(served, lambda now: now["watching"] == before["watching"] + 1)
    wait_until(served, lambda now: now["watching"] == before["watching"])


def test_what_waits_for_a_tab_that_is_gone_is_dropped(served: str) -> None:
    before = work(served)
    httpx.post(served + "/fake/door/held")
    try:
        with raw_socket(served, token=str(uuid.uuid4())) as tab:
            tab.open_pages()
            for _ in range(30):
                ask_at_the_door(tab)
            wait_until(served, lambda now: now["doors_asked"] == before["doors_asked"] + 1)
        wait_until(served, lambda now: now["sockets"] == before["sockets"])
    finally:
        httpx.post(served + "/fake/door/free")
    with raw_socket(served, token=str(uuid.uuid4())) as tab:
        tab.open_pages()
        for _ in range(10):
            ask_at_the_door(tab)
            tab.wait_for(ANSWER)
    assert work(served)["doors_asked"] == before["doors_asked"] + 11


def test_more_than_may_wait_is_left_out_and_the_page_says_so(served: str) -> None:
    before = work(served)
    httpx.post(served + "/fake/door/held")
    try:
        with raw_socket(served, token=str(uuid.uuid4())) as tab:
            tab.open_pages()
            for _ in range(MOST_WAITING + 5):
                ask_at_the_door(tab)
            while TOO_MANY not in tab.wait_for(ANSWER):
                pass
    finally:
        httpx.post(served + "/fake/door/free")
    wait_until(served, lambda now: now["sockets"] == before["sockets"])


@pytest.mark.parametrize(
    "event",
    [
        {"name": f"{GALLERY}.setvar", "payload": {"var_name": "search", "value": "x"}},
        {"name": f"{STATE}.setvar", "payload": {"var_name": "search", "value": "x"}},
        {"name": f"{JOBS}._who", "payload": {}},
        {"name": "no.such.handler", "payload": {}},
        {"name": f"{GALLERY}.find", "payload": {}},
        {"name": f"{GALLERY}.find", "payload": {"words": {"a": 1}}},
        {"name": f"{GALLERY}.find", "payload": {"words": "a", "more": "b"}},
        {"name": f"{GALLERY}.favourite", "payload": {"clip_id": "video_1", "wanted": 1}},
        {"name": f"{GALLERY}.rate", "payload": {"clip_id": "video_1", "rating": "x"}},
        {"name": f"{GALLERY}.find", "payload": ["a"]},
        {"name": DOOR, "payload": {}, "router_data": {"pathname": 5}},
        {"name": 5},
        "event",
        ["event"],
        None,
    ],
    ids=str,
)
def test_what_no_page_sends_is_not_called(served: str, event: object) -> None:
    with raw_socket(served, token=str(uuid.uuid4()), cookie=CREATOR) as tab:
        tab.open_pages()
        tab.fire(f"{STATE}.hydrate")
        tab.wait_for(ANSWER)
        tab.send(event)
        ask_at_the_door(tab)
        said = tab.wait_for(ANSWER)
    assert "door" in said
    assert "did not work" not in said


def test_defects_that_anybody_can_cause_again_and_again_do_not_fill_the_log() -> None:
    with capture_logs() as lines:
        for _ in range(10 * MOST_LINES):
            answer(ValueError("odd"))
    assert 0 < len(lines) <= MOST_LINES + 1


def test_what_was_left_out_of_the_log_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("backend.log_allowance.time.monotonic", lambda: now_s)
    log = SparingLog(most=2)
    with capture_logs() as lines:
        for _ in range(5):
            log.warning("page.event_refused", reason="no event")
        now_s += 61
        log.warning("page.event_refused", reason="no event")
    assert [line["event"] for line in lines] == ["page.event_refused"] * 2 + ["page.lines_left_out"] + [
        "page.event_refused"
    ]
    assert lines[2]["count"] == 3


def test_a_studio_that_is_away_is_said_once_however_many_events_a_press_fires() -> None:
    """A notice replaces the one of its name."""
    for away in (Unavailable(), ValueError("odd")):
        assert '"name": "away"' in str(answer(away).args)
