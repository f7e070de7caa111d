"""Whether this process lives, whether the studio can make clips, and its figures."""

import asyncio
import functools
import hmac
from collections.abc import Awaitable, Callable
from datetime import timedelta

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend import metrics
from backend.api.client_address import is_loopback
from backend.api.dependencies import StudioDep
from backend.api.errors import AWAY
from backend.api.limits import coarse_limit
from backend.api.readiness import Findings, Readiness
from backend.db.away import is_away
from backend.domain.attempt import LEASE
from backend.metrics_socket import figures_of_all
from backend.part_heartbeat import PARTS_HEARD, heartbeat_ages_s, in_words, is_silent
from backend.services.check_ledger import last_check
from backend.services.measure_studio import measure_studio
from backend.studio import Studio

router = APIRouter(include_in_schema=False)

CHECK_TIMEOUT_S = 3.0
HEARTBEAT_GRACE = timedelta(seconds=5)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """This process answers. Asks no other part, so that none of them can get it killed."""
    return {"status": "ok"}


@router.get("/readyz", dependencies=[Depends(coarse_limit)])
async def readyz(request: Request, studio: StudioDep) -> Response:
    """Database, Valkey, storage and one of each worker: 200 when clips can be made, else 503 naming what is away."""
    readiness = getattr(request.app.state, "readiness", None)
    if readiness is None:
        readiness = request.app.state.readiness = Readiness(lambda: _look(studio))
    found = await readiness.now()
    ready = all(state == "ok" for state in found.values())
    return JSONResponse(
        {"ready": ready, "checks": found},
        status_code=200 if ready else 503,
        headers={"cache-control": "no-store"},
    )


async def _look(studio: Studio) -> Findings:
    checks: dict[str, Callable[[], Awaitable[str]]] = {
        "database": lambda: _answers(studio.db.ping()),
        "valkey": lambda: _answers(studio.wakeups.ping()),
        "storage": lambda: _answers(studio.storage.ping()),
        **{part: functools.partial(_heard, studio, part) for part in PARTS_HEARD},
        "worker": lambda: _live_worker(studio),
    }
    found = await asyncio.gather(*(_guarded(check) for check in checks.values()))
    return dict(zip(checks, found, strict=True))


@router.get("/metrics")
async def prometheus(request: Request, studio: StudioDep) -> Response:
    """Prometheus' figures of this process, of the parts beside it, and of the studio as the database has it.

    On this machine, or with `ZOETROPE_METRICS_TOKEN` as bearer.
    """
    token = studio.settings.metrics_token
    sent = request.headers.get("authorization", "").removeprefix("Bearer ")
    allowed = is_loopback(request)
    if not allowed and token is not None:
        allowed = hmac.compare_digest(sent.encode(), token.get_secret_value().encode())
    if not allowed:
        raise HTTPException(404)
    await asyncio.gather(_measure(studio), _measure_heartbeats(studio))
    return Response(await figures_of_all(studio.settings.metrics_sockets), media_type=metrics.CONTENT_TYPE)


async def _measure(studio: Studio) -> None:
    """What other processes did is read from the database; while that is away it is not shown."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await measure_studio(studio)
            last = await last_check(studio)
    except (*AWAY, TimeoutError):
        return
    except SQLAlchemyError as error:
        if is_away(error):
            return
        raise
    if last is not None:
        metrics.ledger_disagreements.set(last.disagreements)
        metrics.ledger_checked.set(last.ended_at.timestamp())


async def _measure_heartbeats(studio: Studio) -> None:
    """Those are in Valkey; what is not to be had there is not shown."""
    metrics.part_heartbeat_age.clear()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            ages_s = await heartbeat_ages_s(studio.wakeups.redis)
    except (RedisError, OSError, TimeoutError):
        return
    for part, age_s in ages_s.items():
        if age_s is not None:
            metrics.part_heartbeat_age.labels(part).set(age_s)


async def _answers(ping: Awaitable[None]) -> str:
    await ping
    return "ok"


async def _heard(studio: Studio, part: str) -> str:
    age_s = (await heartbeat_ages_s(studio.wakeups.redis))[part]
    return in_words(age_s) if is_silent(age_s) else "ok"


async def _live_worker(studio: Studio) -> str:
    async with studio.db.reading() as session:
        count = (
            await session.execute(
                text(
                    "SELECT count(*) FROM workers WHERE state = 'live'"
                    " AND heartbeat_at > now() - make_interval(secs => :lease_s)"
                ),
                {"lease_s": (LEASE + HEARTBEAT_GRACE).total_seconds()},
            )
        ).scalar_one()
    return "ok" if count else "no live worker"


async def _guarded(check: Callable[[], Awaitable[str]]) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except Exception as error:  # noqa: BLE001  # any failure means: away
        return f"away ({type(error).__name__})"
