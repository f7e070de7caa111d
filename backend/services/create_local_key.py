"""A key for the command line on the studio's own machine."""

from backend.db.repositories import people
from backend.services.create_api_key import add_key
from backend.services.create_first_admin_link import first_admin
from backend.studio import Studio


async def create_local_key(studio: Studio) -> str:
    """The secret of a key of the first admin's account: who holds the data folder runs the studio anyway.

    What `zoetrope generate` makes is then in that person's gallery.
    """
    async with studio.db.transaction() as session:
        user_id = await first_admin(session)
        created = await add_key(
            session,
            account_id=await people.home_account(session, user_id),
            user_id=user_id,
            name="this machine's command line",
        )
    return created.secret
