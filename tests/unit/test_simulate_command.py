"""`zoetrope trace` and `zoetrope simulate` as they are typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from backend.cli import app

TIER = {
    "jobs",
    "refused",
    "wait_p50_s",
    "wait_p95_s",
    "wait_p99_s",
    "fair_wait_p99_s",
    "share",
    "weight_share",
    "past_ceiling",
}


def zoetrope(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("trace") / "small.csv")
    made = zoetrope("trace", path, "--jobs", "1000", "--gpus", "2", "--seed", "3")
    assert made.exit_code == 0, made.output
    assert "1000 jobs" in made.output
    return path


def test_the_figures_have_the_documented_shape(trace: str) -> None:
    said = zoetrope("simulate", trace, "--gpus", "2", "--mtbf", "900", "--weights", "free=1,plus=3", "--json")
    assert said.exit_code == 0, said.output
    figures = json.loads(said.stdout)
    assert {set(tier) == TIER for tier in figures["tiers"].values()} == {True}
    assert sum(tier["jobs"] for tier in figures["tiers"].values()) == 1000
    weights = {name: tier["weight_share"] for name, tier in figures["tiers"].items()}
    assert weights["plus"] == pytest.approx(3 * weights["free"], abs=0.001)
    assert set(figures["light_users"]) == {"jobs", "slowdown_p50", "slowdown_p95"}
    assert set(figures["gpu"]) == {"useful_s", "switch_s", "lost_s", "idle_s", "useful_of_busy"}
    assert figures["gpu"]["lost_s"] > 0
    assert {"jain", "jain_10min", "switch_rate", "preemptions", "eta_p90_coverage", "makespan_s"} <= set(
        figures
    )


def test_policies_are_compared_over_the_same_jobs_in_one_run(trace: str) -> None:
    said = zoetrope("simulate", trace, "--fleet", "h200:1,l40s:1", "--compare", "--json")
    assert said.exit_code == 0, said.output
    by_policy = json.loads(said.stdout)
    assert set(by_policy) == {"fair", "fifo", "priority"}
    assert by_policy["fair"]["switch_rate"] < by_policy["fifo"]["switch_rate"]
    alone = zoetrope("simulate", trace, "--fleet", "h200:1,l40s:1", "--policy", "fifo", "--json")
    assert json.loads(alone.stdout) == by_policy["fifo"]
    lines = zoetrope("simulate", trace, "--gpus", "2", "--compare").stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["fifo", "priority", "fair"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--gpus", "0"], "--gpus"),
        ([], "--fleet"),
        (["--gpus", "1", "--fleet", "h200:1"], "--fleet"),
        (["--fleet", "abacus:2"], "abacus"),
        (["--gpus", "1", "--weights", "free=-1"], "--weights"),
        (["--gpus", "1", "--weights", "gold"], "--weights"),
        (["--gpus", "1", "--mtbf", "0"], "--mtbf"),
        (["--gpus", "1", "--mtbf", "1"], "--mtbf"),
    ],
)
def test_a_wrong_option_is_named(trace: str, words: list[str], named: str) -> None:
    said = zoetrope("simulate", trace, *words)
    assert said.exit_code != 0
    assert named in said.output + str(said.exception)


@pytest.mark.parametrize(
    ("rows", "named"), [("", "no jobs"), ("0,a,free,m,10,8\n1,b,free,m,soon,8\n", "line 3")]
)
def test_a_trace_that_is_none_says_why(tmp_path: Path, rows: str, named: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("arrival_s,user,tier,model,gpu_s,vram_gb\n" + rows)
    said = zoetrope("simulate", str(path), "--gpus", "1")
    assert said.exit_code != 0
    assert named in said.output + str(said.exception)
