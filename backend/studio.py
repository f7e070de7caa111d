"""The wiring root of the control plane: settings in, adapters out.

Use cases take a `Studio` and nothing global.
"""

from dataclasses import dataclass, field

from backend.billing import Billing, NoBilling, open_billing
from backend.clock import Clock, SystemClock
from backend.db.engine import Database
from backend.first_tries import FirstTries
from backend.mail import Mailer, NullMailer, open_mailer
from backend.served_recipes import ServedRecipes
from backend.settings import Settings
from backend.storage import Storage, open_storage
from backend.token_bucket import TokenBuckets
from backend.wakeups import Wakeups, connect


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What use cases need of the world."""

    settings: Settings
    db: Database
    storage: Storage
    wakeups: Wakeups
    clock: Clock
    mailer: Mailer = field(default_factory=NullMailer)
    billing: Billing = field(default_factory=NoBilling)
    rates: TokenBuckets = field(init=False)
    tries: FirstTries = field(init=False)
    served: ServedRecipes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", TokenBuckets(self.wakeups.redis, self.clock))
        object.__setattr__(self, "tries", FirstTries(self.wakeups.redis, self.clock))
        object.__setattr__(self, "served", ServedRecipes(self.db, self.clock))

    async def close(self) -> None:
        """Let go of all connections."""
        await self.db.close()
        await self.wakeups.close()
        await self.storage.close()


def open_studio(settings: Settings, *, pool_size: int = 10) -> Studio:
    """Choose the adapters that the settings name.

    Connects lazily; raises `OperatorError` for missing URLs.
    """
    return Studio(
        settings=settings,
        db=Database(settings.require_database_url(), pool_size=pool_size),
        storage=open_storage(settings),
        wakeups=Wakeups(connect(settings.require_redis_url())),
        clock=SystemClock(),
        mailer=open_mailer(settings),
        billing=open_billing(settings),
    )
