"""How each kind of fault is dealt: `begin` strikes, `end` lets go. What was struck, and when, is kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncpg
from redis import Redis

from tests.storm.cast import Cast
from tests.storm.invariants import Struck
from tests.storm.plan import CONTROLS, LEADER, STANDBY, Fault, Kind
from tests.storm.weather import Weather


@dataclass
class UnderWay:
    """A fault that has begun, and whom it really hit. `live`: the attempts that lived when it began."""

    fault: Fault
    target: str
    began_at: datetime
    live: list[str] = field(default_factory=list)


class Blows:
    """Deals the faults. `ask` runs a statement on the database, `tear_*` reach into the clients' side."""

    def __init__(
        self,
        cast: Cast,
        *,
        ask: Callable[[str], str | None],
        live: Callable[[], list[str]],
        tear_put: Callable[[], object],
        tear_form: Callable[[], object],
    ) -> None:
        self._cast = cast
        self._ask = ask
        self._live = live
        self._tear_put = tear_put
        self._tear_form = tear_form
        self._weather = Weather()
        self.under_way: list[UnderWay] = []
        self.ended: list[tuple[UnderWay, Struck]] = []

    def struck(self) -> list[Struck]:
        """All faults so far; those that go on end now."""
        return self.over() + [_struck(each, datetime.now(UTC)) for each in list(self.under_way)]

    def over(self) -> list[Struck]:
        """The faults that have ended, in that order."""
        return [struck for _, struck in list(self.ended)]

    def begin(self, fault: Fault) -> None:
        """Strike. What is done at once ends at once."""
        going = UnderWay(
            fault=fault, target=self._target(fault), began_at=datetime.now(UTC), live=self._live()
        )
        self.under_way.append(going)
        self._strike(going)
        if not fault.for_s:
            self.end(going)

    def end(self, going: UnderWay) -> None:
        """Let go of it."""
        self.under_way.remove(going)
        cast, fault = self._cast, going.fault
        match fault.kind:
            case Kind.STOP_LEADER | Kind.STOP_WORKER:
                cast.thaw(going.target)
            case Kind.CONTROLS_AWAY:
                cast.bring_back(*CONTROLS)
            case Kind.WORKER_AWAY:
                cast.bring_back(going.target)
            case Kind.VALKEY_AWAY:
                cast.valkey_wanted = True
            case Kind.STORAGE_ERRORS:
                self._let(failing=0.0)
            case Kind.DISK_FULL:
                self._let(full=False)
            case Kind.CLOCK_JUMP:
                self._let(jumps={})
        cast.tend()
        self.ended.append((going, _struck(going, datetime.now(UTC))))

    def end_all(self) -> None:
        """Let go of all that goes on."""
        for going in list(self.under_way):
            self.end(going)

    def _target(self, fault: Fault) -> str:
        if fault.target not in {LEADER, STANDBY}:
            return fault.target
        holder = self._ask("SELECT holder FROM leader_terms WHERE name = 'dispatch'") or ""
        pid = holder.split(":")[1] if holder.count(":") == 2 else ""
        leads = self._cast.name_of(int(pid)) if pid.isdecimal() else ""
        leads = leads if leads in CONTROLS else CONTROLS[0]
        stands_by = next(name for name in CONTROLS if name != leads)
        return leads if fault.target == LEADER else stands_by

    def _strike(self, going: UnderWay) -> None:
        cast, fault = self._cast, going.fault
        match fault.kind:
            case (
                Kind.KILL_LEADER | Kind.KILL_STANDBY | Kind.KILL_WORKER | Kind.KILL_WEB | Kind.KILL_MODERATOR
            ):
                cast.kill(going.target)
            case Kind.STOP_LEADER | Kind.STOP_WORKER:
                cast.freeze(going.target)
            case Kind.CONTROLS_AWAY:
                cast.kill(*CONTROLS, stay_away=True)
            case Kind.WORKER_AWAY:
                cast.kill(going.target, stay_away=True)
            case Kind.KILL_POSTMASTER:
                cast.kill_postmaster()
            case Kind.KILL_BACKEND:
                self._ask(_TERMINATE)
            case Kind.KILL_VALKEY:
                cast.kill_valkey()
            case Kind.VALKEY_AWAY:
                cast.kill_valkey(stay_away=True)
            case Kind.FLUSHALL:
                with Redis.from_url(cast.settings.require_redis_url()) as redis:
                    redis.flushall()
            case Kind.STORAGE_ERRORS:
                self._let(failing=fault.amount)
            case Kind.DISK_FULL:
                self._let(full=True)
            case Kind.CLOCK_JUMP:
                self._let(jumps={going.target: fault.amount})
            case Kind.TORN_PUT:
                self._tear_put()
            case Kind.TORN_FORM:
                self._tear_form()

    def _let(
        self,
        failing: float | None = None,
        full: bool | None = None,
        jumps: dict[str, float] | None = None,
    ) -> None:
        now = self._weather
        self._weather = Weather(
            failing=now.failing if failing is None else failing,
            full=now.full if full is None else full,
            jumps=now.jumps if jumps is None else jumps,
        )
        self._weather.write(self._cast.weather_file)


_TERMINATE = (
    "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity"
    " WHERE usename = current_user AND application_name <> 'storm' AND pid <> pg_backend_pid()"
    " ORDER BY random() LIMIT 1"
)


async def ask_database(url: str, statement: str) -> str | None:
    """The first value of a statement's answer; None where there is none, or no database."""
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return None
    try:
        found = await connection.fetchval(statement, timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        return None
    finally:
        connection.terminate()
    return None if found is None else str(found)


def _struck(going: UnderWay, ended_at: datetime) -> Struck:
    return Struck(kind=going.fault.kind, target=going.target, began_at=going.began_at, ended_at=ended_at)
