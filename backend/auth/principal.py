"""Who is asking, as every use case sees it."""

from dataclasses import dataclass
from enum import StrEnum

from backend.domain.errors import NotAllowed


class Role(StrEnum):
    """What a person is to the studio, beside owning clips."""

    CREATOR = "creator"
    MODERATOR = "moderator"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a key may be used for."""

    VIDEOS_READ = "videos:read"
    VIDEOS_WRITE = "videos:write"


class Via(StrEnum):
    """How the asker was recognised."""

    SESSION = "session"
    API_KEY = "api_key"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Someone who was recognised for this one request; never kept longer."""

    user_id: str
    account_id: str
    role: Role
    tier: str
    scopes: frozenset[Scope] = ALL_SCOPES
    via: Via = Via.SESSION
    api_key_id: str | None = None
    email: str = ""

    @property
    def may_moderate(self) -> bool:
        """Decide cases. By session alone: a key is for a program."""
        return self.via is Via.SESSION and self.role in {Role.MODERATOR, Role.ADMIN}

    @property
    def may_administer(self) -> bool:
        """Run the studio. By session alone."""
        return self.via is Via.SESSION and self.role is Role.ADMIN

    def require(self, scope: Scope) -> None:
        """Raises `NotAllowed` when the key doesn't hold the scope."""
        if scope not in self.scopes:
            raise NotAllowed(f"This key lacks the scope {scope}. Make one with it on the account page.")

    def require_session(self) -> None:
        """Raises `NotAllowed` for keys: what hands out access is for people in a browser."""
        if self.via is not Via.SESSION:
            raise NotAllowed("Sign in to the web app for that; an API key is not enough.")

    def require_admin(self) -> None:
        """Raises `NotAllowed` for anyone but an admin."""
        if not self.may_administer:
            raise NotAllowed("Only admins may do that.")
