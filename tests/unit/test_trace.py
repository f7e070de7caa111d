"""Traces: what is written is read back, what is wrong is named, and a made trace has the shape it should."""

import math
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from backend.cli import app
from backend.simulator.generate import (
    MIN_JOBS,
    TARGETS,
    TIER_MIX,
    TraceOptions,
    TraceOptionsError,
    generate,
)
from backend.simulator.trace import (
    COLUMNS,
    MAX_ARRIVAL_S,
    MAX_GPU_S,
    MAX_NAME_LENGTH,
    MAX_VRAM_GB,
    TraceError,
    TraceJob,
    gini,
    read_trace,
    shape_of,
    write_trace,
)

HEADER = ",".join(COLUMNS)
RIGHT = "3.5,ann,free,wan,20,24"
JOB = TraceJob(arrival_s=3.5, user="ann", tier="free", model="wan", gpu_s=20.0, vram_gb=24.0)

names = st.text(min_size=1, max_size=MAX_NAME_LENGTH).filter(lambda n: n.isprintable() and n == n.strip())
trace_jobs = st.builds(
    TraceJob,
    arrival_s=st.floats(0, MAX_ARRIVAL_S),
    user=names,
    tier=names,
    model=names,
    gpu_s=st.floats(0, MAX_GPU_S, exclude_min=True),
    vram_gb=st.floats(0, MAX_VRAM_GB, exclude_min=True),
)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str | bytes], list[TraceJob]]:
    def read_text(text: str | bytes) -> list[TraceJob]:
        path = tmp_path / "trace.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_trace(path)

    return read_text


Read = Callable[[str | bytes], list[TraceJob]]


# Reading and writing


@settings(deadline=None)  # it writes files
@given(jobs=st.lists(trace_jobs, max_size=20))
def test_reads_back_what_was_written_by_arrival(
    tmp_path_factory: pytest.TempPathFactory, jobs: list[TraceJob]
) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.csv"
    write_trace(path, jobs)
    assert read_trace(path) == sorted(jobs, key=lambda job: job.arrival_s)


def test_jobs_that_arrive_together_keep_the_order_of_the_file(read: Read) -> None:
    got = read(f"{HEADER}\n5,b,free,m,1,1\n5,a,free,m,1,1\n2,c,free,m,1,1\n")
    assert [job.user for job in got] == ["c", "b", "a"]


def test_takes_columns_in_any_order_and_passes_over_others(read: Read) -> None:
    assert read("note,gpu_s,vram_gb,model,tier,user,arrival_s\nx,20,24,wan,free,ann,3.5\n") == [JOB]


def test_takes_what_spreadsheets_write(read: Read) -> None:
    text = HEADER.replace(",", ", ") + '\r\n3.5,"ann",free, wan ,20, 24\r\n\r\n'
    assert read(b"\xef\xbb\xbf" + text.encode()) == [JOB]


def test_a_header_alone_is_a_trace_without_jobs(read: Read) -> None:
    assert read(HEADER) == []


@pytest.mark.parametrize(
    ("column", "value", "right"),
    [
        ("arrival_s", "soon", "from 0 to 1000000000"),
        ("arrival_s", "-1", "from 0 to 1000000000"),
        ("arrival_s", "nan", "from 0 to 1000000000"),
        ("arrival_s", "1e300", "from 0 to 1000000000"),
        ("user", "", "1 to 200 printable characters"),
        ("user", "  ", "1 to 200 printable characters"),
        ("user", "a\x1bb", "1 to 200 printable characters"),
        ("tier", "", "such as free"),
        ("model", "", "the model's name"),
        ("model", "m" * 201, "1 to 200 printable characters"),
        ("gpu_s", "", "above 0 and at most 10000000"),
        ("gpu_s", "0", "above 0 and at most 10000000"),
        ("gpu_s", "inf", "above 0 and at most 10000000"),
        ("vram_gb", "24GB", "gigabytes of GPU memory"),
        ("vram_gb", "-24", "gigabytes of GPU memory"),
    ],
)
def test_names_line_column_value_and_what_would_be_right(
    read: Read, column: str, value: str, right: str
) -> None:
    fields = RIGHT.split(",")
    fields[COLUMNS.index(column)] = value
    with pytest.raises(TraceError) as raised:
        read("\n".join([HEADER, RIGHT, ",".join(fields), RIGHT]))
    problem = str(raised.value)
    assert f"line 3, column {column}: {value[:40]!r}"[:-1] in problem
    assert right in problem


def test_names_the_line_of_the_file_after_a_field_of_two_lines(read: Read) -> None:
    with pytest.raises(TraceError, match="line 3, column user"):
        read(f'{HEADER}\n3.5,"an\nn",free,wan,20,24\n')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1, column arrival_s: it is there 0 times"),
        (RIGHT, "line 1, column arrival_s: it is there 0 times"),
        (HEADER.replace("tier,", ""), "line 1, column tier: it is there 0 times"),
        (HEADER + ",user", "line 1, column user: it is there 2 times"),
        (f"{HEADER}\n{RIGHT},more", "line 2: 7 fields: give 6"),
        (f"{HEADER}\n{RIGHT}\n3.5,ann", "line 3: 2 fields: give 6"),
        (f'{HEADER}\n3.5,"ann"x,free,wan,20,24', "line 2: not CSV"),
        (f"{HEADER}\n3.5,{'a' * 200_000},free,wan,20,24", "line 2: not CSV"),
        (HEADER.encode() + b"\n3.5,\xff,free,wan,20,24", "not text in UTF-8"),
    ],
)
def test_says_what_is_wrong_with_a_file_that_is_no_trace(read: Read, text: str | bytes, problem: str) -> None:
    with pytest.raises(TraceError) as raised:
        read(text)
    assert problem in str(raised.value)


def test_a_file_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"absent\.csv can't be read"):
        read_trace(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    "wrong", [replace(JOB, user=" ann"), replace(JOB, gpu_s=math.nan), replace(JOB, model="a\nb")]
)
def test_writes_nothing_that_could_not_be_read_back(tmp_path: Path, wrong: TraceJob) -> None:
    path = tmp_path / "trace.csv"
    write_trace(path, [JOB])
    with pytest.raises(TraceError, match="line 3, column"):
        write_trace(path, [JOB, wrong])
    assert read_trace(path) == [JOB]
    assert [left.name for left in tmp_path.iterdir()] == ["trace.csv"]


def test_a_folder_that_is_not_there_is_an_error_with_the_file_s_name(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"trace\.csv can't be written"):
        write_trace(tmp_path / "absent" / "trace.csv", [JOB])


# Measuring


def test_measures_a_trace_that_can_be_counted_by_hand() -> None:
    rows = [
        (0, "a", "x", 10),
        (100, "a", "x", 30),
        (200, "b", "y", 20),
        (86_400, "a", "x", 100),
        (50, "a", "z", 40),
    ]
    shape = shape_of(
        [
            TraceJob(arrival_s=at, user=user, tier="free", model=model, gpu_s=gpu_s, vram_gb=24)
            for at, user, model, gpu_s in rows
        ]
    )
    assert (shape.jobs, shape.accounts, shape.models, shape.span_s) == (5, 2, 3, 86_400)
    assert shape.work_gpu_s == 200
    assert (shape.gpu_s_p50, shape.gpu_s_p90) == pytest.approx((30, 76))
    assert shape.top_share == 0.9
    assert shape.gini == pytest.approx(0.4)
    assert shape.peak_hour == pytest.approx(4 / (5 / 24))
    assert (shape.first_model, shape.first_ten_models) == (0.6, 1)
    assert shape.model_changes == 1  # by arrival: x z x y x
    assert shape.light_accounts == 0.5
    assert shape.load(2) == pytest.approx(200 / (2 * 86_400))


def test_a_trace_of_one_moment_has_a_shape() -> None:
    shape = shape_of([replace(JOB, arrival_s=0.0)])
    assert (shape.peak_hour, shape.gini, shape.model_changes) == (1, 0, 0)
    assert shape.load(8) == math.inf


def test_a_trace_without_jobs_has_no_shape() -> None:
    with pytest.raises(TraceError):
        shape_of([])


def test_gini_is_0_for_equals_and_almost_1_for_one_owner() -> None:
    assert gini([3, 3, 3]) == pytest.approx(0)
    assert gini([1e-9] * 999 + [1]) == pytest.approx(0.999)


# Making


@pytest.mark.parametrize("seed", [1, 2, 3, 71])
@pytest.mark.parametrize(
    ("jobs", "tolerance"), [(MIN_JOBS, 0.03), (1599, 0.02), (3000, 0.02), (None, 0.01), (20_000, 0.01)]
)
def test_a_made_trace_has_the_shape_of_the_public_one(seed: int, jobs: int | None, tolerance: float) -> None:
    shape = shape_of(generate(TraceOptions(seed=seed, jobs=jobs)))
    reached = {name: getattr(shape, name) for name in TARGETS}
    assert reached == pytest.approx(dict(TARGETS), rel=tolerance)
    assert shape.load(8) == pytest.approx(0.45, rel=0.001)
    assert 0.35 <= shape.light_accounts <= 0.75


def test_a_long_trace_has_the_shape_too() -> None:
    shape = shape_of(generate(TraceOptions(seed=5, jobs=100_000)))
    assert {name: getattr(shape, name) for name in TARGETS} == pytest.approx(dict(TARGETS), rel=0.005)


def test_the_same_options_make_the_same_trace_in_another_process() -> None:
    program = (
        "import hashlib; from backend.simulator.generate import *; "
        "print(hashlib.sha256(repr(generate(TraceOptions(seed=3, jobs=900))).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_seeds_differ() -> None:
    assert generate(TraceOptions(seed=1, jobs=900)) != generate(TraceOptions(seed=2, jobs=900))


@pytest.mark.parametrize(
    ("hours", "gpus", "load"), [(24.0, 8, 0.45), (6.0, 40, 0.7), (39.0, 8, 0.45), (100.0, 3, 0.9)]
)
def test_hours_gpus_and_load_say_how_many_jobs(hours: float, gpus: int, load: float) -> None:
    shape = shape_of(generate(TraceOptions(hours=hours, gpus=gpus, load=load)))
    assert shape.span_s == pytest.approx(hours * 3600, rel=0.001)
    assert shape.load(gpus) == pytest.approx(load, rel=0.001)
    assert shape.peak_hour == pytest.approx(9, rel=0.02)


def test_scale_makes_each_job_longer_and_nothing_else_different() -> None:
    once, thrice = (shape_of(generate(TraceOptions(jobs=2000, scale_s=scale))) for scale in (1.0, 3.0))
    assert thrice.gpu_s_p99 == pytest.approx(3 * once.gpu_s_p99, rel=0.001)
    assert thrice.gini == pytest.approx(once.gini, rel=0.01)
    assert thrice.load(8) == pytest.approx(0.45, rel=0.001)


def test_jobs_come_by_arrival_and_execution_times_have_an_end() -> None:
    jobs = generate(TraceOptions(jobs=20_000))
    assert [job.arrival_s for job in jobs] == sorted(job.arrival_s for job in jobs)
    assert min(job.gpu_s for job in jobs) >= 2
    assert 106 < max(job.gpu_s for job in jobs) <= 300


def test_an_account_has_one_tier_and_heavy_ones_pay_more_often() -> None:
    work: dict[str, float] = defaultdict(float)
    tier_of: dict[str, str] = {}
    for job in generate(TraceOptions(jobs=20_000)):
        work[job.user] += job.gpu_s
        assert tier_of.setdefault(job.user, job.tier) == job.tier
    shares = {tier: n / len(tier_of) for tier, n in Counter(tier_of.values()).items()}
    assert shares == pytest.approx(dict(TIER_MIX))
    heavy = sorted(work, key=work.__getitem__)[-len(work) // 10 :]
    paying = sum(tier_of[user] != "free" for user in heavy) / len(heavy)
    assert 0.4 < paying < 0.75


def test_a_tier_mix_of_one_s_own() -> None:
    jobs = generate(TraceOptions(jobs=8000, tiers={"basic": 0.5, "team": 0.5}))
    tier_of = {job.user: job.tier for job in jobs}
    assert Counter(tier_of.values()) == {"basic": 500, "team": 500}


def test_a_model_has_one_size_that_fits_a_card_of_80_gb_and_its_own_speed() -> None:
    jobs = generate(TraceOptions(jobs=20_000))
    sizes: dict[str, set[float]] = defaultdict(set)
    times: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        sizes[job.model].add(job.vram_gb)
        times[job.model].append(math.log(job.gpu_s))
    assert all(len(of_model) == 1 for of_model in sizes.values())
    assert set.union(*sizes.values()) == {12, 24, 48, 80}
    means = {model: sum(logs) / len(logs) for model, logs in times.items()}
    mean = sum(math.log(job.gpu_s) for job in jobs) / len(jobs)
    between = sum((means[job.model] - mean) ** 2 for job in jobs)
    total = sum((math.log(job.gpu_s) - mean) ** 2 for job in jobs)
    assert 0.2 < between / total < 0.8


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (TraceOptions(jobs=1000, hours=24.0), "both jobs and hours"),
        (TraceOptions(jobs=MIN_JOBS - 1), "jobs is 799"),
        (TraceOptions(hours=0.0), "hours is 0"),
        (TraceOptions(hours=0.5), "hours of 8 GPUs at load 0.45 are 227 jobs"),
        (TraceOptions(gpus=0), "gpus is 0"),
        (TraceOptions(load=math.nan), "load is nan"),
        (TraceOptions(scale_s=0.0), "scale_s is 0"),
        (TraceOptions(tiers={"free": 0.5}), "tiers' shares"),
        (TraceOptions(tiers={"free": 1.5, "plus": -0.5}), "tiers' shares"),
    ],
)
def test_says_which_option_no_trace_can_be_made_from(options: TraceOptions, problem: str) -> None:
    with pytest.raises(TraceOptionsError) as raised:
        generate(options)
    assert problem in str(raised.value)


def test_the_command_writes_a_trace_and_shows_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    options = ["--jobs", "3000", "--gpus", "4", "--load", "0.6", "--scale", "2", "--seed", "9", "--shape"]
    done = CliRunner().invoke(app, ["trace", str(path), *options])
    assert done.exit_code == 0, done.output
    assert read_trace(path) == generate(TraceOptions(jobs=3000, gpus=4, load=0.6, scale_s=2, seed=9))
    lines = {line.split()[0]: line.split()[1:] for line in done.output.splitlines()}
    assert lines["figure"] == ["reached", "target"]
    assert lines["gpu_s_p50"][1] == "46"
    assert lines["load"] == ["0.6", "0.6"]
    assert set(TARGETS) < lines.keys()
