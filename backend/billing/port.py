"""What a payment provider's adapter does: prove that an event is the provider's, and say it in our words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from backend.billing.catalogue import CatalogueData
from backend.domain.billing import BillingEvent
from backend.domain.errors import ZoetropeError


class BadSignature(ZoetropeError):
    """The event is not signed by the payment provider, or too old."""

    code = "bad_signature"
    http_status = 400


class Billing(Protocol):
    """A payment provider, or none."""

    provider: str

    @property
    def enabled(self) -> bool:
        """Whether events are taken."""
        ...

    def offers(self) -> CatalogueData:
        """What can be bought, and what each product gives. Raises `BadSettingError` for a file that was spoilt."""
        ...

    def read(self, payload: bytes, headers: Mapping[str, str], *, now: datetime) -> BillingEvent | None:
        """The event in a request's body; None: one that means nothing here.

        Raises `BadSignature`, and `InvalidField` for a signed body that can't be read.
        """
        ...
