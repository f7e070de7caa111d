"""Tiers' claims on GPU time, and how much of a tier may wait."""

import pytest

from backend.domain.shares import FILL, Backlog, TierShare, effective_weights, share_with

SHARES = {
    "free": TierShare(weight=1, ceiling_s=900),
    "plus": TierShare(weight=2, ceiling_s=900),
    "pro": TierShare(weight=4, ceiling_s=600),
}
WEIGHTS = effective_weights(SHARES)


def test_a_floor_raises_a_small_weight() -> None:
    weights = effective_weights({"free": TierShare(weight=1, floor=0.2), "pro": TierShare(weight=19)})
    assert weights["free"] / sum(weights.values()) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="floors"):
        effective_weights({"free": TierShare(weight=1, floor=1.0)})


def test_a_tier_alone_gets_everything_and_among_the_greedy_its_weight() -> None:
    assert share_with("free", WEIGHTS, {}) == pytest.approx(1.0)
    assert share_with("free", WEIGHTS, {"plus": 9, "pro": 9}) == pytest.approx(1 / 7)


def test_what_a_modest_tier_leaves_is_shared_by_weight() -> None:
    assert share_with("free", WEIGHTS, {"pro": 0.1, "plus": 9}) == pytest.approx(0.9 / 3)


def test_a_quiet_studio_lets_its_one_tier_fill_the_bound_and_a_full_one_holds_it_to_its_weight() -> None:
    backlog = Backlog(SHARES)
    alone = backlog.bound_gpu_s("free", waiting={}, capacity=8, now_s=0)
    assert alone == pytest.approx(FILL * 900 * 8)
    for second in range(600):
        backlog.asked("plus", 80, second)
        backlog.asked("pro", 80, second)
    crowded = backlog.bound_gpu_s("free", waiting={}, capacity=8, now_s=600)
    assert crowded == pytest.approx(alone / 7, rel=0.01)


def test_a_tier_without_a_ceiling_is_not_bounded() -> None:
    backlog = Backlog({"internal": TierShare(weight=1)})
    assert backlog.bound_gpu_s("internal", waiting={}, capacity=8, now_s=0) == float("inf")
