"""The worker's line to the control plane through its own Valkey keys. Being cut off never raises."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from backend.contracts import Heartbeat, Mailbox, Report, Wishes
from backend.contracts.bell import listen
from backend.contracts.wire import UPLINK_FIELD, UPLINK_MAXLEN, WORKERS_KEY
from backend.log import get_logger

log = get_logger(__name__)

CALL_TIMEOUT_S = 3.0
_CUT_OFF = (RedisError, OSError, TimeoutError)


class Uplink:
    """Sends heartbeats and reports, reads wishes. Each call answers whether it got through, within 3 s."""

    def __init__(self, redis: Redis, worker_id: str) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._mailbox = Mailbox(worker_id)
        self._connected = True

    async def register(self) -> bool:
        """Name this worker among the workers. One that is fenced to its own keys may be refused."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await cast(Awaitable[int], self._redis.sadd(WORKERS_KEY, self._worker_id))
        except ResponseError as error:
            log.debug("uplink.register_refused", reason=type(error).__name__)
        except _CUT_OFF as error:
            return self._note(error)
        return self._note(None)

    async def send(self, message: Heartbeat | Report) -> bool:
        """Add one message to the uplink stream."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._redis.xadd(
                    self._mailbox.uplink,
                    {UPLINK_FIELD: message.model_dump_json()},
                    maxlen=UPLINK_MAXLEN,
                    approximate=True,
                )
        except _CUT_OFF as error:
            return self._note(error)
        return self._note(None)

    async def wishes(self) -> Wishes | None:
        """What the control plane wants now; None when cut off, or when it never said anything."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                raw = await self._redis.get(self._mailbox.wishes)
        except _CUT_OFF as error:
            self._note(error)
            return None
        self._note(None)
        if raw is None:
            return None
        try:
            return Wishes.model_validate_json(raw)
        except ValidationError as error:
            log.error("uplink.bad_wishes", problems=error.error_count())
            return None

    async def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the wishes change, for ever; polling covers what is missed while cut off."""
        await listen(self._redis, self._mailbox.wishes, wake)

    def _note(self, error: BaseException | None) -> bool:
        connected = error is None
        if connected != self._connected:
            self._connected = connected
            if error is None:
                log.info("uplink.connected", worker_id=self._worker_id)
            else:
                log.warning("uplink.cut_off", worker_id=self._worker_id, reason=type(error).__name__)
        return connected
