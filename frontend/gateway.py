"""The only door from the pages to the use cases. A page asks here; it never sees a row, a session or a price list.

`gateway()` gives the one in use; `install()` puts another in its place when the process starts (the studio's own, or
a test's fake).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from frontend.money_views import CreditsView, ReceiptPage
from frontend.views import (
    AccountView,
    CaseView,
    ClipPage,
    ClipView,
    DoorView,
    Draft,
    JobView,
    KeyView,
    LedgerPage,
    ModelView,
    QuoteView,
)

MOST_UNDER_WAY = 100
"""Jobs on their way that are read at once."""


class Refused(Exception):
    """The studio said no. `message` is for the creator and says what would be right; `field` names the culprit.

    `again_at`: when it will work, ISO 8601, where that is known.
    """

    def __init__(self, message: str, field: str = "", code: str = "", again_at: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.code = code
        self.again_at = again_at


class NotSignedIn(Exception):
    """Nobody asks."""


class NotAllowed(Exception):
    """Somebody asks who has not the role for it."""


class Unavailable(Exception):
    """A part of the studio (database, storage) does not answer just now."""


class Changes(Protocol):
    """What happens to one account."""

    async def next(self, timeout_s: float | None = None) -> object | None:
        """Wait until something changed; None: nothing did in `timeout_s`."""
        ...


class Gateway(Protocol):
    """What the pages may ask for. `who` is always the account that `who_is` answered for this very event."""

    async def who_is(self, cookie: str) -> AccountView:
        """The account of a request's `Cookie` header, or the empty account."""
        ...

    async def door(self, *, invitation: str = "") -> DoorView:
        """What anybody may know before signing in, and what an invitation's code is good for."""
        ...

    async def models(self, who: AccountView) -> list[ModelView]:
        """The models on offer, the default first."""
        ...

    async def quote(self, who: AccountView, draft: Draft) -> QuoteView:
        """Price and wait of a draft. Raises Refused with the field that is wrong."""
        ...

    async def unknown_words(self, who: AccountView, *, model: str, prompt: str) -> str:
        """A sentence naming the words that the model leaves out; empty where it reads them all."""
        ...

    async def submit(self, who: AccountView, draft: Draft) -> JobView:
        """Accept a draft as a generation job. Raises Refused; nothing is charged then."""
        ...

    async def jobs(self, who: AccountView) -> list[JobView]:
        """Jobs on their way, at most `MOST_UNDER_WAY` and the oldest first, then those that just ended without one."""
        ...

    async def cancel(self, who: AccountView, job_id: str, *, seen_steps: int | None = None) -> JobView:
        """Stop a job; a cancelled one stays so. Raises Refused where it is too late.

        `seen_steps`: the `stop_steps` of the price that was agreed to; no more is charged.
        """
        ...

    async def retry(self, who: AccountView, job_id: str) -> JobView:
        """Ask for the same again, as a new job with a price of its own in the place of the one before."""
        ...

    async def vary(self, who: AccountView, clip_id: str, *, press: str) -> JobView:
        """The same with another seed, as a new job. Two calls with one `press` are one job. Raises Refused."""
        ...

    async def remove(self, who: AccountView, job_id: str) -> None:
        """Delete a job that ended without a clip."""
        ...

    async def clips(
        self, who: AccountView, *, search: str = "", show: str = "ready", cursor: str = "", limit: int = 40
    ) -> ClipPage:
        """A page of the gallery, newest first. `show`: ready, favourites, review, blocked, stopped or all."""
        ...

    async def clip(self, who: AccountView, clip_id: str) -> ClipView | None:
        """One clip with its parameters, fresh URLs and neighbours; None when this account has none of that id."""
        ...

    async def set_favourite(self, who: AccountView, clip_id: str, favourite: bool) -> None:
        """Mark or unmark a clip."""
        ...

    async def rate(self, who: AccountView, clip_id: str, rating: int) -> None:
        """Thumbs up (1), down (-1) or neither (0)."""
        ...

    async def delete_clips(self, who: AccountView, clip_ids: Sequence[str]) -> int:
        """Delete clips for good; how many there were."""
        ...

    async def settings_of(self, who: AccountView, clip_id: str) -> Draft | None:
        """The draft that made a clip, for the composer."""
        ...

    async def ledger(self, who: AccountView, *, cursor: str = "") -> LedgerPage:
        """A page of the account's ledger, newest first."""
        ...

    async def credits(self, who: AccountView) -> CreditsView:
        """The account's credits by grant, what comes next, and where more comes from."""
        ...

    async def receipts(self, who: AccountView, *, cursor: str = "") -> ReceiptPage:
        """A page of receipts, newest first, of deleted clips too."""
        ...

    async def keys(self, who: AccountView) -> list[KeyView]:
        """The account's API keys, newest first."""
        ...

    async def create_key(
        self, who: AccountView, *, name: str, scopes: Sequence[str], expires_in_days: int | None
    ) -> tuple[KeyView, str]:
        """A new API key and its secret, which nobody can read again."""
        ...

    async def revoke_key(self, who: AccountView, key_id: str) -> None:
        """End an API key now."""
        ...

    async def cases(self, who: AccountView) -> list[CaseView]:
        """Open review cases, the oldest first. Raises NotAllowed unless `who` may moderate."""
        ...

    async def waiting_cases(self, who: AccountView) -> int:
        """How many review cases are open. Raises NotAllowed unless `who` may moderate."""
        ...

    async def take_case(self, who: AccountView, case_id: str) -> CaseView:
        """Claim a case and lay its evidence open. Raises NotAllowed, or Refused while another has it."""
        ...

    async def decide(self, who: AccountView, case_id: str, *, allow: bool, note: str) -> None:
        """Allow or block a case. Raises NotAllowed, or Refused when somebody was first."""
        ...

    async def undo_decision(self, who: AccountView, case_id: str) -> None:
        """Take an allow back within its minute. Raises NotAllowed, or Refused when it took effect."""
        ...

    def watch(self, who: AccountView) -> AbstractContextManager["Changes"]:
        """Changes of this account, for as long as the context is open."""
        ...


_installed: Gateway | None = None


def install(implementation: Gateway) -> None:
    """Use this gateway from now on. Called once, where the app is put together."""
    global _installed
    _installed = implementation


def gateway() -> Gateway:
    """The gateway in use.

    Raises:
        RuntimeError: none was installed.
    """
    if _installed is None:
        raise RuntimeError("no gateway is installed: build the app with frontend.studio.build_app")
    return _installed
