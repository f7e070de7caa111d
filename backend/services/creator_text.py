"""What a creator reads when a clause stops something."""

from moderation.policy import default_policy

FALLBACK = "This studio's rules don't allow it. You were not charged."


def text_for(clause: str | None) -> str:
    """The clause's own text, from the policy in force."""
    clauses = default_policy().clauses
    return clauses[clause].creator_text if clause is not None and clause in clauses else FALLBACK
