"""The nightly proof that ledger and jobs agree: once after three in the morning, UTC, by whoever leads then."""

import asyncio

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.log import get_logger
from backend.services.check_ledger import check_ledger
from backend.studio import Studio

log = get_logger(__name__)

LOOKS_EVERY_S = 600.0

_DUE = text(
    """
    SELECT NOT EXISTS (SELECT 1 FROM ledger_checks
                       WHERE started_at >= date_trunc('day', now() - interval '3 hours', 'UTC') + interval '3 hours')
    """
)


async def check_ledger_nightly(studio: Studio) -> None:
    """Check for ever, a night at a time."""
    while True:
        try:
            await check_if_due(studio)
        except (SQLAlchemyError, OSError) as error:
            log.warning("ledger.check_waits", error=type(error).__name__)
        await asyncio.sleep(LOOKS_EVERY_S)


async def check_if_due(studio: Studio) -> bool:
    """Check unless that was done since three o'clock. A disagreement is an error in the log, with its name."""
    async with studio.db.reading() as session:
        due = bool((await session.execute(_DUE)).scalar_one())
    if due:
        report = await check_ledger(studio)
        for found in report.named:
            log.error(
                "ledger.disagrees",
                fault=found.fault,
                subject=found.subject,
                account_id=found.account_id,
                expected=found.expected,
                found=found.found,
            )
        log.info("ledger.checked", disagreements=report.total, **report.checked)
    return due
