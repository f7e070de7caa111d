"""Whether a classifier knows what it was shown. What it does not know, a person judges. Pure."""

from moderation.policy import Policy
from moderation.verdict import CLASSIFIER_ERROR, Finding, Ruling, Surface, Verdict, rule_on


def within_scope(ruling: Ruling, policy: Policy, *, surface: Surface, small_world: bool) -> Ruling:
    """The ruling, if its classifier can judge this; else one for review, whatever the classifier said.

    `small_world`: the picture is one of the small world's, or made by a model of it.
    """
    asked = policy.classifiers.get(ruling.classifier.partition("/")[0])
    if small_world or asked is None or not asked.small_world:
        return ruling
    finding = Finding(
        clause=CLASSIFIER_ERROR,
        score=1.0,
        threshold=1.0,
        verdict=Verdict.REVIEW,
        surface=surface,
        detail=f"{asked.name} knows drawn shapes alone",
    )
    return rule_on([finding], policy_version=ruling.policy_version, classifier=ruling.classifier)
