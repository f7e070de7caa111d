"""One address shows what every process of a running studio did."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.running_studio import RunningStudio, wait_for

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(studio: RunningStudio) -> Figures:
    text = httpx.get(f"{studio.url}/metrics", timeout=10).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(figures: Figures, name: str, **labels: str) -> float:
    return figures.get((f"zoetrope_{name}", frozenset(labels.items())), 0.0)


def test_a_job_shows_in_the_figures_of_each_part_that_moved_it(
    shared_studio: RunningStudio, tmp_path: Path
) -> None:
    before = scrape(shared_studio)
    shared_studio.run(
        "generate", "a blue star rising on a white background", "-o", str(tmp_path / "clip.mp4")
    )

    def grown(name: str, **labels: str) -> float:
        return value(scrape(shared_studio), name, **labels) - value(before, name, **labels)

    tier = next(
        dict(labels)["tier"]
        for (name, labels) in scrape(shared_studio)
        if name == "zoetrope_job_transitions_total" and ("state", "completed") in labels
    )
    for part, states in {
        "web": ("queued",),
        "control": ("assigned", "running", "moderating", "completed"),
        "moderator": ("approved",),
    }.items():
        for state in states:
            labels = {"part": part, "state": state, "model": "mini", "tier": tier}
            wait_for(
                f"{state} by {part}", lambda labels=labels: grown("job_transitions_total", **labels) >= 1, 10
            )
    assert grown("attempts_total", part="control", model="mini", outcome="done") >= 1
    assert grown("gpu_seconds_total", part="control", model="mini", use="useful") > 0
    assert grown("denoise_step_duration_seconds_count", part="worker", model="mini") >= 16
    assert (
        grown("moderation_verdicts_total", part="moderator", stage="output", verdict="allow", clause="") >= 1
    )


def test_the_figures_say_who_leads_who_is_up_and_what_waits(shared_studio: RunningStudio) -> None:
    figures = scrape(shared_studio)
    for part in ("web", "control", "moderator", "worker"):
        assert value(figures, "part_up", part=part) == 1
    assert value(figures, "leader", part="control") == 1
    assert value(figures, "leader", part="moderator") == 0
    assert value(figures, "workers", state="live") == 1
    assert ("zoetrope_outbox_pending", frozenset({("consumer", "publish")})) in figures
    assert ("process_resident_memory_bytes", frozenset({("part", "worker")})) in figures
