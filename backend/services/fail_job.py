"""A job that can't go on, whoever is at fault: failed, at no charge."""

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Job
from backend.db.repositories import jobs, ledger
from backend.domain.generation import JobEvent


async def fail_job(session: AsyncSession, job: Job, *, code: str, message: str) -> bool:
    """End the job and release its whole hold, in the caller's transaction, which has locked it.

    False: it had moved on. Lock its attempt before, if that ends too.
    """
    if not await jobs.move(session, job, JobEvent.GAVE_UP, charged=0, error_code=code, error_message=message):
        return False
    await ledger.end_hold(session, job.id, charge=0, reason="failed")
    return True
