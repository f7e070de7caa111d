import pytest

from backend.ids import IdPrefix, is_id, new_id, new_trace_id


def test_ids_say_what_they_name_and_sort_by_the_time_they_were_made() -> None:
    ids = [new_id(IdPrefix.VIDEO) for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(is_id(made, IdPrefix.VIDEO) and len(made) == len("video_") + 26 for made in ids)


@pytest.mark.parametrize(
    "text", ["", "video_", "video_short", "video_" + "u" * 26, "att_" + "0" * 26, "video_../../etc/passwd"]
)
def test_what_is_not_an_id_of_this_kind_is_told_apart(text: str) -> None:
    assert not is_id(text, IdPrefix.VIDEO)


def test_trace_ids_follow_w3c() -> None:
    trace_id = new_trace_id()
    assert len(trace_id) == 32
    assert int(trace_id, 16) > 0
