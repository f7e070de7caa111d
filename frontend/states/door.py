"""What the pages in front of the door say: who may sign up, and whether mail can be sent. Open to anybody."""

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import Refused, Unavailable, gateway
from frontend.views import DoorView

MOST_CODE_CHARS = 200


class Door(rx.State):
    """The studio as a visitor sees it. `code` is the invitation's, from the link."""

    door: DoorView = DoorView()
    code: str = ""
    read: bool = False

    @rx.event
    async def open(self) -> EventSpec | None:
        """Read how one gets in, and the invitation named in the address."""
        self.code = self.router.url.query_parameters.get("invitation", "").strip()[:MOST_CODE_CHARS]
        try:
            self.door = await gateway().door(invitation=self.code)
        except (Unavailable, Refused):
            # The forms work all the same, and say themselves what they refuse.
            self.door = DoorView()
        self.read = True
        return None
