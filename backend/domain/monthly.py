"""Each month's credits of a tier: who gets them, how many, and why not. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from backend.domain.tiers import Tier


class Origin(StrEnum):
    """How an account came to be."""

    SELF = "self"
    INVITATION = "invitation"
    OPERATOR = "operator"


class Withheld(StrEnum):
    """Why an account got no credits for a month."""

    UNCONFIRMED = "unconfirmed"  # nobody stands for the address yet. Ends when its letter is answered
    NETWORK_UNKNOWN = "network_unknown"  # nobody signed in for long. Ends at the next sign-in
    NETWORK_FULL = "network_full"  # other accounts of the network had them. Ends with the month, or elsewhere


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is known of an account when its month is looked at. `given`: credits it has had for this month already."""

    tier: Tier
    origin: Origin
    vouched: bool
    network: str | None
    given: int = 0

    @property
    def due(self) -> int:
        """Credits that its tier gives and it has not had: a better tier in mid-month adds the difference."""
        return max(0, self.tier.monthly_grant - self.given)

    @property
    def limited(self) -> bool:
        """Whether its network counts: for accounts that people made themselves, in tiers that say so."""
        return self.tier.grants_per_network > 0 and self.origin is Origin.SELF


def decide(claim: Claim, *, taken: int) -> Withheld | None:
    """Whether what is due is given (None) or withheld. `taken`: other accounts of its network that got this month's."""
    if claim.due == 0:
        return None
    if not claim.vouched:
        return Withheld.UNCONFIRMED
    if not claim.limited:
        return None
    if claim.network is None:
        return Withheld.NETWORK_UNKNOWN
    return Withheld.NETWORK_FULL if taken >= claim.tier.grants_per_network else None


def words(reason: Withheld, *, mail: bool, per_network: int) -> str:
    """The same for the one it concerns. `mail`: this studio sends letters."""
    match reason:
        case Withheld.UNCONFIRMED if mail:
            return "This month's credits come when you answer the letter that was sent to your address."
        case Withheld.UNCONFIRMED:
            return "Free credits need a confirmed address or an invitation, and this studio sends no mail."
        case Withheld.NETWORK_UNKNOWN:
            return "This month's credits come with your next sign-in."
        case Withheld.NETWORK_FULL:
            return (
                f"This month's free credits were not given: {per_network} accounts of your network had theirs,"
                " and no more get them."
            )
