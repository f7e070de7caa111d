"""No payments: the account page says whom to ask."""

from collections.abc import Mapping
from datetime import datetime

from backend.billing.catalogue import CatalogueData
from backend.domain.billing import BillingEvent
from backend.domain.errors import NotFound


class NoBilling:
    """Nothing is sold."""

    provider = "none"
    enabled = False

    def offers(self) -> CatalogueData:
        """Nothing."""
        return CatalogueData()

    def read(self, payload: bytes, headers: Mapping[str, str], *, now: datetime) -> BillingEvent | None:
        """Raises `NotFound`: nobody is expected here."""
        raise NotFound("This studio takes no payments.")
