"""A line is a sorted list with exact sums, however it was filled."""

from hypothesis import given
from hypothesis import strategies as st

from backend.domain.fair_line import Ahead, FairLine, Key

entries = st.dictionaries(st.integers(0, 5000), st.integers(1, 90), max_size=60)


def key(tag: int) -> Key:
    return (tag, 0.0, f"j{tag}")


@given(entries, st.lists(st.integers(0, 5000), max_size=30), st.integers(0, 5001), st.integers(-5, 6000))
def test_rank_and_work_before_are_those_of_a_sorted_list(
    found: dict[int, int], removed: list[int], asked: int, room: int
) -> None:
    line = FairLine()
    for tag, gpu_ms in found.items():
        line.add(key(tag), gpu_ms)
    left = dict(found)
    for tag in removed:
        if tag in left:
            line.remove(key(tag))
            del left[tag]
    ordered = sorted(left.items())
    before = [gpu_ms for tag, gpu_ms in ordered if tag < asked]
    assert line.before((asked, 0.0, "")) == Ahead(len(before), sum(before))
    started = work = 0
    for _tag, gpu_ms in ordered:
        if work >= room:
            break
        started, work = started + 1, work + gpu_ms
    assert line.started_by(room) == Ahead(started, work)
    assert line.first() == (key(ordered[0][0]) if ordered else None)


def test_a_long_line_filled_in_pieces_equals_one_filled_one_by_one() -> None:
    one_by_one, at_once = FairLine(), FairLine()
    tags = [(index * 7919) % 10_007 for index in range(5000)]
    for tag in tags:
        one_by_one.add(key(tag), tag % 50 + 1)
    ordered = sorted(tags)
    for start in range(0, len(ordered), 300):
        piece = ordered[start : start + 300]
        at_once.extend([key(tag) for tag in piece], [tag % 50 + 1 for tag in piece])
    for line in (one_by_one, at_once):
        for tag in tags[::3]:
            line.remove(key(tag))
    for asked in range(0, 10_007, 501):
        assert one_by_one.before((asked, 0.0, "")) == at_once.before((asked, 0.0, ""))
        assert one_by_one.started_by(asked * 10) == at_once.started_by(asked * 10)
    assert (one_by_one.jobs, one_by_one.gpu_ms) == (at_once.jobs, at_once.gpu_ms)
