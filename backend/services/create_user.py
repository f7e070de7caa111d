"""Make a person, with an account of their own and its first credits."""

import re
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.passwords import check_password, hash_password
from backend.auth.principal import Principal, Role
from backend.db.models import Account, AuditEntry, Membership, User
from backend.db.repositories import people
from backend.db.repositories.tiers import load_tiers
from backend.domain.errors import Conflict, InvalidField
from backend.domain.monthly import Origin
from backend.domain.tiers import DEFAULT_TIER
from backend.ids import IdPrefix, new_id
from backend.services.renew_credits import renew_in
from backend.studio import Studio

_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f<>,;:\"()\[\]\\]{1,64}@[^@\s\x00-\x1f\x7f<>,;:\"()\[\]\\]{1,190}")


@dataclass(frozen=True, kw_only=True)
class CreatedUser:
    """A new person and their account."""

    id: str
    account_id: str
    email: str


async def create_user(
    studio: Studio,
    *,
    email: str,
    password: str | None = None,
    tier: str = DEFAULT_TIER,
    role: Role = Role.CREATOR,
    name: str = "",
    by: Principal | None = None,
) -> CreatedUser:
    """Make a person whose address counts as confirmed. `by` None: the operator, at the command line.

    Without a password they sign in by a link. Raises `NotAllowed`, `InvalidField`, `Conflict` (address
    taken).
    """
    if by is not None:
        by.require_admin()
    address = check_email(email)
    password_hash = None
    if password is not None:
        password_hash = await hash_password(check_password(password, email=address))
    async with studio.db.transaction() as session:
        return await add_user(
            session,
            email=address,
            password_hash=password_hash,
            tier=tier,
            role=role,
            name=name,
            confirmed=True,
            origin=Origin.OPERATOR,
            vouched=True,
            by=by,
        )


async def add_user(
    session: AsyncSession,
    *,
    email: str,
    password_hash: str | None,
    tier: str,
    role: Role,
    name: str,
    confirmed: bool,
    origin: Origin,
    vouched: bool,
    network: str | None = None,
    by: Principal | None = None,
) -> CreatedUser:
    """The rows of a new person, within the caller's transaction. Raises `InvalidField`, `Conflict`.

    `vouched`: somebody stands for them, so that their first credits can be given now. `network` is a keyed hash.
    """
    tiers = await load_tiers(session)
    if tier not in tiers:
        raise InvalidField(f"There is no tier {tier!r}. Tiers: {', '.join(tiers)}.", param="tier")
    # Two people who take one address at the same moment: the second waits here, then finds the first.
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(email.lower(), 0))))
    if await people.user_by_email(session, email) is not None:
        raise Conflict(f"There is somebody with the address {email} already.", param="email")
    now = (await session.execute(select(func.now()))).scalar_one()
    user = User(
        id=new_id(IdPrefix.USER),
        email=email,
        name=name,
        password_hash=password_hash,
        role=role.value,
        email_confirmed_at=now if confirmed else None,
    )
    account = Account(
        id=new_id(IdPrefix.ACCOUNT),
        kind="person",
        name=name or email,
        tier=tier,
        # Somebody chose it: payments leave it alone.
        tier_pinned=tier != DEFAULT_TIER,
        origin=origin.value,
        vouched_at=now if vouched else None,
        network=network,
        network_seen_at=now if network else None,
    )
    session.add(user)
    session.add(account)
    await session.flush()
    session.add(Membership(account_id=account.id, user_id=user.id, role="owner"))
    session.add(
        AuditEntry(
            actor_id=by.user_id if by else None,
            action="user.created",
            subject=user.id,
            detail={"role": role.value, "tier": tier},
        )
    )
    await session.flush()
    await renew_in(session, account.id, anew=True)
    return CreatedUser(id=user.id, account_id=account.id, email=email)


def check_email(text: str) -> str:
    """The address without blanks around it. Raises `InvalidField`."""
    email = text.strip()
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise InvalidField("That is no e-mail address. It looks like name@example.org.", param="email")
    return email
