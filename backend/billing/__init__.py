"""Payments: one port, Stripe or nothing behind it. No call leaves the studio; signed events come in."""

from backend.billing.catalogue import Catalogue, Offer
from backend.billing.none import NoBilling
from backend.billing.port import BadSignature, Billing
from backend.billing.stripe import StripeBilling
from backend.operator_errors import BadSettingError
from backend.settings import Settings

__all__ = ["BadSignature", "Billing", "Catalogue", "NoBilling", "Offer", "StripeBilling", "open_billing"]


def open_billing(settings: Settings) -> Billing:
    """Stripe when its secret and a catalogue are set, else none. Raises `BadSettingError`."""
    secrets = settings.billing_secrets()
    if not secrets and settings.billing_catalogue is None:
        return NoBilling()
    if not secrets:
        raise BadSettingError(
            "a billing catalogue without a secret",
            "set ZOETROPE_BILLING_SECRET or ZOETROPE_BILLING_SECRET_FILE to the webhook's signing secret",
        )
    if settings.billing_catalogue is None:
        raise BadSettingError(
            "a billing secret without a catalogue",
            "set ZOETROPE_BILLING_CATALOGUE to a file that says what each product gives (docs/money.md)",
        )
    catalogue = Catalogue(settings.billing_catalogue)
    catalogue.current()
    return StripeBilling(secrets, catalogue)
