"""What pages show of money: receipts, credits by grant, offers. Figures are ready to be read."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ReceiptView:
    """What one job cost, and why: `short` in a list, `why` on its own. `href` is empty when its clip is gone."""

    id: str = ""
    what: str = ""
    href: str = ""
    at: str = ""
    quoted: str = ""
    held: str = ""
    charged: str = ""
    refunded: str = ""
    short: str = ""
    why: str = ""
    drawn: str = ""
    open: bool = False


@dataclass(frozen=True, kw_only=True)
class ReceiptPage:
    """A page of receipts, newest first."""

    receipts: list[ReceiptView]
    cursor: str = ""


@dataclass(frozen=True, kw_only=True)
class GrantView:
    """What is left of one grant, and until when; `ends_at` is empty where it has no end."""

    what: str
    left: str
    of: str
    ends_at: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class OfferView:
    """Something that can be bought, and where."""

    title: str
    price: str
    url: str


@dataclass(frozen=True, kw_only=True)
class CreditsView:
    """Credits by grant in the order in which they are spent, what comes next, and where more comes from."""

    grants: list[GrantView] = field(default_factory=list)
    next_amount: str = ""
    next_at: str = ""
    owed: str = ""
    withheld: str = ""
    ask: str = ""
    ask_url: str = ""
    offers: list[OfferView] = field(default_factory=list)
    portal_url: str = ""
