"""Tabs of nobody in particular: what they leave behind, and tabs of somebody."""

import time
import uuid

import httpx

from tests.ui.raw_socket import raw_socket

HYDRATE = "reflex___state____state.hydrate"


def _remembered(url: str) -> int:
    return int(httpx.get(url + "/tabs").json()["remembered"])


def _wait_for(url: str, count: int) -> None:
    until = time.monotonic() + 20
    while _remembered(url) != count:
        assert time.monotonic() < until, _remembered(url)
        time.sleep(0.05)


def test_a_strangers_tab_is_forgotten_with_its_socket(served: str) -> None:
    before = _remembered(served)
    for number in range(20):
        with raw_socket(served, token=str(uuid.uuid4())) as tab:
            tab.open_pages()
            tab.fire(HYDRATE, query={"a": str(number) * 1000})
            tab.wait_for("42/_event,")
    _wait_for(served, before)


def test_a_tab_of_somebody_is_kept_for_when_it_comes_back(served: str) -> None:
    before = _remembered(served)
    with raw_socket(served, token=str(uuid.uuid4()), cookie="zoetrope_session=creator") as tab:
        tab.open_pages()
        tab.fire("reflex___state____state.frontend___states___session____session"
                 ".frontend___states___jobs____jobs.load", query={})  # fmt: skip
        tab.wait_for("42/_event,")
    with raw_socket(served, token=str(uuid.uuid4())) as tab:
        tab.open_pages()
        tab.fire(HYDRATE, query={})
        tab.wait_for("42/_event,")
    _wait_for(served, before + 1)


def test_no_tab_is_written_to_a_disk(served: str) -> None:
    # A state holds the cookie of its session, which the database keeps only a hash of.
    assert httpx.get(served + "/tabs").json()["kept_by"] == "StateManagerMemory"
