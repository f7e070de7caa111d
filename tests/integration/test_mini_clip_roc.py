"""The shipped weights on a small, seeded, held-out piece; docs/moderation.md has the whole measurement."""

import pytest

from gpu_worker.mini.clip_roc import BAD_KINDS, Roc, measure_drawn, measure_rendered


@pytest.fixture(scope="module")
def roc() -> Roc:
    return measure_drawn(count=1_200, seed=515_151)


def test_glyphs_are_told_from_harmless_drawings(roc: Roc) -> None:
    assert roc.auc > 0.98
    assert roc.auc_degraded > 0.975


def test_each_glyph_is_found_at_the_review_threshold(roc: Roc) -> None:
    recall = roc.points[0].recall
    assert all(recall[kind] > 0.80 for kind in BAD_KINDS), recall


def test_the_four_shapes_are_hardly_ever_accused(roc: Roc) -> None:
    assert roc.points[0].false_positives_on_shapes < 0.05
    assert roc.points[0].false_positives < 0.09


def test_encoded_clips_of_shapes_pass_and_clips_of_glyphs_do_not() -> None:
    answer = measure_rendered(clips=16)
    shapes = [c for c in answer["clips"] if c["kind"] in ("circle", "square", "triangle", "star")]
    glyphs = [c for c in answer["clips"] if c not in shapes]
    assert shapes
    assert glyphs
    assert [c for c in glyphs if c["verdict"] == "allow"] == []
    # One in so few may be sent to a person for nothing; none is blocked.
    assert sum(c["verdict"] != "allow" for c in shapes) <= 1
    assert [c for c in shapes if c["verdict"] == "block"] == []
