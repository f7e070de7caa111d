"""Invite somebody to sign up."""

from datetime import timedelta

from backend.auth.principal import Principal, Role
from backend.db.models import AuditEntry
from backend.db.repositories import people
from backend.db.repositories.tiers import load_tiers
from backend.domain.errors import InvalidField
from backend.domain.tiers import DEFAULT_TIER
from backend.services.create_user import check_email
from backend.services.send_letter import Purpose
from backend.studio import Studio

INVITATION_LIFE = timedelta(days=14)


async def create_invitation(
    studio: Studio,
    *,
    email: str | None = None,
    tier: str = DEFAULT_TIER,
    role: Role = Role.CREATOR,
    life: timedelta = INVITATION_LIFE,
    by: Principal | None = None,
) -> str:
    """The link of an invitation that works once; with `email`, for that address alone.

    `by` None: the operator, at the command line. Raises `NotAllowed`, `InvalidField`.
    """
    if by is not None:
        by.require_admin()
    address = None if email is None else check_email(email)
    async with studio.db.transaction() as session:
        tiers = await load_tiers(session)
        if tier not in tiers:
            raise InvalidField(f"There is no tier {tier!r}. Tiers: {', '.join(tiers)}.", param="tier")
        offer: dict[str, object] = {"tier": tier, "role": role.value}
        token = await people.make_one_time_token(
            session, purpose=Purpose.INVITATION, ttl=life, email=address, payload=offer
        )
        session.add(
            AuditEntry(
                actor_id=by.user_id if by else None,
                action="invitation.created",
                subject=address or "",
                detail=offer,
            )
        )
    return f"{studio.settings.public_url}/sign-up?invitation={token}"
