"""What a classifier says of pictures it does not know counts for nothing: a person looks at them."""

import pytest

from moderation.policy import default_policy
from moderation.scope import within_scope
from moderation.verdict import CLASSIFIER_ERROR, Finding, Ruling, Surface, Verdict, rule_on

FOUND = Finding(
    clause="graphic_violence", score=0.99, threshold=0.9, verdict=Verdict.BLOCK, surface=Surface.VIDEO
)


def ruling(verdict: Verdict, classifier: str) -> Ruling:
    findings = () if verdict is Verdict.ALLOW else (FOUND,)
    return rule_on(findings, policy_version="1", classifier=classifier)


@pytest.mark.parametrize("verdict", [Verdict.ALLOW, Verdict.BLOCK])
def test_the_mini_clip_neither_allows_nor_blocks_what_a_real_model_made(verdict: Verdict) -> None:
    said = ruling(verdict, "mini_clip/abc123")
    doubted = within_scope(said, default_policy(), surface=Surface.VIDEO, small_world=False)
    assert (doubted.verdict, doubted.clause) == (Verdict.REVIEW, CLASSIFIER_ERROR)
    assert doubted.classifier == said.classifier


@pytest.mark.parametrize("verdict", [Verdict.ALLOW, Verdict.BLOCK])
def test_it_judges_its_own_world_and_a_real_clip_judges_all(verdict: Verdict) -> None:
    mini, real = ruling(verdict, "mini_clip/abc123"), ruling(verdict, "clip/def456")
    assert within_scope(mini, default_policy(), surface=Surface.VIDEO, small_world=True) is mini
    assert within_scope(real, default_policy(), surface=Surface.VIDEO, small_world=False) is real
