import json

import pytest

from moderation.policy import POLICY_DIR, PolicyError, default_policy, parse_policy
from moderation.verdict import Verdict

SHIPPED = (POLICY_DIR / "v1.toml").read_text(encoding="utf-8")


def test_the_shipped_policy_has_the_clauses_and_says_what_each_means() -> None:
    policy = default_policy()
    assert {"csae", "sexual_content", "real_person_likeness", "graphic_violence", "self_harm"} <= set(
        policy.clauses
    )
    assert all(len(clause.creator_text) > 40 for clause in policy.clauses.values())
    assert policy.clause("csae").severity == 5


def test_the_gravest_clause_never_merely_reviews_what_names_it() -> None:
    rules = {rule.id: rule for rule in default_policy().clause("csae").rules}
    assert rules["csae.term"].verdict is Verdict.BLOCK
    assert rules["csae.minor_explicit"].verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ('severity = 5\n', "severity = 9\n", r"clauses\.csae\.severity"),
        ('all_of = ["csae_terms"]', 'all_of = ["nobody"]', r"csae\.term\.all_of"),
        ('id = "csae.term", action = "block"', 'id = "csae.term", action = "shoo"', "allow, review or block"),
        ("weapons = { review = 0.5 }", "weapons = { review = 7 }", r"mini_clip\.thresholds\.weapons\.review"),
        ("review = 0.5, block = 0.9", "review = 0.95, block = 0.9", "must not be below"),
        ("ages_under = 18", "ages_under = 180", r"groups\.minor\.ages_under"),
        ('prompts = ["a skull"], clause = "graphic', 'prompts = ["a skull"], clause = "nope', "no clause 'nope"),
    ],
)  # fmt: skip
def test_a_wrong_policy_says_where_it_is_wrong(was: str, becomes: str, message: str) -> None:
    assert was in SHIPPED
    with pytest.raises(PolicyError, match=message):
        parse_policy(SHIPPED.replace(was, becomes, 1))


def test_an_unknown_classifier_is_named_with_the_known_ones() -> None:
    with pytest.raises(PolicyError, match="mini_clip"):
        default_policy().classifier("other")


def test_the_prompts_are_those_the_shipped_weights_were_measured_with() -> None:
    measured = json.loads((POLICY_DIR.parent / "weights" / "mini_clip" / "thresholds.json").read_text())
    concepts = default_policy().classifier("mini_clip").concepts
    assert {concept.label: concept.prompts[0] for concept in concepts} == measured["prompts"]
    assert {concept.label for concept in concepts if concept.clause} == set(measured["bad"])
