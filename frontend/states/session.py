"""Who is asking. Every handler asks again: any client can fire any event by name, and a session can end meanwhile."""

from contextlib import suppress

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import NotAllowed, NotSignedIn, gateway
from frontend.views import AccountView


class Session(rx.State):
    """The account behind this tab's cookie, the count of its jobs on their way, and a moderator's of open cases.

    `readings`: how often its jobs were read, so that the browser knows when the studio was heard last.
    """

    account: AccountView = AccountView()
    going: int = 0
    cases_waiting: int = 0
    readings: int = 0

    async def _who(self) -> AccountView:
        """The account of the cookie that this very socket carries.

        Raises:
            NotSignedIn: there is none. `failures.answer` sends the visitor to the door.
        """
        who = await gateway().who_is(self.router.headers.cookie)
        self.account = who
        if not who.signed_in:
            self.going = 0
            raise NotSignedIn
        return who

    @rx.event
    async def look(self) -> EventSpec | None:
        """See who is asking, on a page that is for anybody."""
        with suppress(NotSignedIn):
            await self._who()
        return None

    async def _moderator(self) -> AccountView:
        """The account, when it may moderate.

        Raises:
            NotSignedIn: nobody asks.
            NotAllowed: somebody else asks.
        """
        who = await self._who()
        if not who.may_moderate:
            raise NotAllowed
        return who
