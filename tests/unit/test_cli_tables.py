from dataclasses import replace
from datetime import timedelta

import pytest

from backend.cli.tiers import _said
from backend.cli.workers import _heard, _models, _state
from backend.domain.worker import WorkerState
from backend.services.list_workers import ListedWorker

AT_WORK = ListedWorker(
    id="gpu-1",
    state=WorkerState.LIVE,
    recipes=("mini", "wan-2.1-1.3b"),
    resident=("mini",),
    silence=timedelta(seconds=1),
    draining=False,
    rests_for=None,
    quarantine_reason="",
)


@pytest.mark.parametrize(
    ("value", "said"),
    [(2_592_000.0, "2,592,000"), (0.25, "0.25"), (1800.0, "1,800"), (40, "40"), (None, "None")],
)
def test_a_month_in_seconds_is_written_out(value: object, said: str) -> None:
    assert _said(value) == said


def test_a_worker_is_told_with_what_keeps_it_from_work() -> None:
    assert (_state(AT_WORK), _heard(AT_WORK), _models(AT_WORK)) == ("live", "1 s ago", "mini* wan-2.1-1.3b")
    resting = replace(
        AT_WORK, draining=True, rests_for=timedelta(minutes=20), quarantine_reason="out of memory"
    )
    assert _state(resting) == "live, draining, rests 20 min more: out of memory"
    unheard = replace(AT_WORK, silence=None, recipes=())
    assert (_state(unheard), _heard(unheard), _models(unheard)) == ("never came", "never", "none")
    assert _heard(replace(AT_WORK, silence=timedelta(hours=50))) == "2 d ago"
