"""Images that no job needs any more: first nobody can name them, then their bytes go, then their rows."""

from backend.db.repositories import uploads
from backend.studio import Studio

BATCH = 200


async def sweep_uploads(studio: Studio) -> bool:
    """One batch. True: there may be more. May run again at any time, also after it was cut off."""
    async with studio.db.transaction() as session:
        looked = await uploads.remove_unused(
            session, evidence_kept=studio.settings.evidence_kept, limit=BATCH
        )
    async with studio.db.reading() as session:
        gone = await uploads.removed(session, limit=BATCH)
    for key in gone.values():
        await studio.storage.delete(key)
    if gone:
        async with studio.db.transaction() as session:
            await uploads.forget(session, gone)
    return BATCH in (looked, len(gone))
