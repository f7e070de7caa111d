"""The pace of a run is that of its steps, not of the first one, which may compile."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gpu_worker.attempt import AttemptRun, Sinks


def _run() -> AttemptRun:
    order = SimpleNamespace(recipe="mini", spec=SimpleNamespace(num_inference_steps=20))
    sinks = Sinks(changed=lambda: None, keep_checkpoint=lambda *_: None, show_preview=lambda *_: None)
    return AttemptRun(cast(Any, order), sinks)


def test_the_first_step_is_forgotten_once_there_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    run, now = _run(), [0.0]
    monkeypatch.setattr("gpu_worker.attempt.time.monotonic", lambda: now[0])
    monkeypatch.setattr(AttemptRun, "_keep_checkpoint_if_due", lambda *_: None)
    monkeypatch.setattr(AttemptRun, "_show_preview_if_due", lambda *_: None)
    said = []
    for step, took_s in enumerate((30.0, 0.1, 0.1, 0.1), 1):
        now[0] += took_s
        run.on_step(cast(Any, SimpleNamespace(step=step, steps=20, resumed_from_step=0)))
        said.append(run.step_s)
    assert said == pytest.approx([30.0, 0.1, 0.1, 0.1])
