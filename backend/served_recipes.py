"""Which recipes the fleet serves, by what workers said last. Asked at each submission, so remembered for a second."""

from sqlalchemy import text

from backend.clock import Clock
from backend.db.engine import Database

FRESH_S = 1.0
KEPT_S = 300
"""A worker's recipes count for so long after it was last heard: one that is started again refuses nobody meanwhile."""

# Against the newest heartbeat rather than the clock: when all are away at once, jobs wait for them.
_SERVED = text(
    """
    SELECT DISTINCT unnest(recipes) FROM workers
    WHERE heartbeat_at > (SELECT max(heartbeat_at) FROM workers) - make_interval(secs => :kept_s)
    """
)


class ServedRecipes:
    """Names of recipes that some worker serves. Empty before a worker was ever heard."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._names: frozenset[str] = frozenset()
        self._read_again_at = float("-inf")

    async def names(self) -> frozenset[str]:
        """At most `FRESH_S` old. Raises what the database's driver raises while it is away."""
        if self._clock.monotonic() >= self._read_again_at:
            async with self._db.single() as session:
                self._names = frozenset((await session.execute(_SERVED, {"kept_s": KEPT_S})).scalars())
            self._read_again_at = self._clock.monotonic() + FRESH_S
        return self._names
