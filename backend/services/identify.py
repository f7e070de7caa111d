"""Who is asking: by a browser's cookie or by a program's key.

Asked again at every request and every event.
"""

from backend.auth.principal import Principal
from backend.auth.tokens import API_KEY_PREFIX, is_plausible, session_token
from backend.db.repositories import people
from backend.domain.errors import NotSignedIn
from backend.studio import Studio


async def identify_session(studio: Studio, token: str | None) -> Principal | None:
    """Whose session this token is. None: nobody's, or it has ended."""
    if not token or not is_plausible(token):
        return None
    async with studio.db.reading() as session:
        return await people.principal_of_session(session, token)


async def identify_cookie(studio: Studio, cookie_header: str) -> Principal | None:
    """Whose session a raw `Cookie` header carries."""
    return await identify_session(studio, session_token(cookie_header))


async def identify_key(studio: Studio, key: str) -> Principal:
    """Whose API key this is. Raises `NotSignedIn`."""
    if not key.startswith(API_KEY_PREFIX) or not is_plausible(key):
        raise NotSignedIn("This is not an API key of this studio. Keys look like sk-zt-….")
    async with studio.db.reading() as session:
        found = await people.principal_of_key(session, key)
    if found is None:
        raise NotSignedIn("This API key is unknown, revoked or expired. Make a new one on the account page.")
    principal, stale = found
    if stale and principal.api_key_id is not None:
        async with studio.db.transaction() as session:
            await people.touch_key(session, principal.api_key_id)
    return principal
