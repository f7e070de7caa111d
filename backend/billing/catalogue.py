"""What each product of the payment provider gives, as data: a TOML or JSON file that is read again when it changes."""

import json
import tomllib
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from backend.domain.tiers import DEFAULT_TIER
from backend.log import get_logger
from backend.operator_errors import BadSettingError

log = get_logger(__name__)

SETTING = "ZOETROPE_BILLING_CATALOGUE"
MAX_CREDITS = 1_000_000_000


def _https(value: str) -> str:
    if value and (urlsplit(value).scheme != "https" or not urlsplit(value).netloc):
        raise ValueError("must begin with https://")
    return value


class Offer(BaseModel):
    """A product: credits that end after a while or never, or a tier for as long as it is subscribed to.

    `key` is the provider's: with Stripe a price (`price_…`) or a payment link (`plink_…`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    key: str = Field(min_length=1, max_length=200)
    title: str = Field(min_length=1, max_length=80)
    price: str = Field(default="", max_length=40)
    credits: int | None = Field(default=None, ge=1, le=MAX_CREDITS)
    expires_after_days: int | None = Field(default=None, ge=1, le=3660)
    tier: str | None = None
    buy_url: str = ""

    _buy_url = field_validator("buy_url")(_https)

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.credits is None) == (self.tier is None):
            raise ValueError("an offer gives either credits or a tier")
        if self.expires_after_days is not None and self.credits is None:
            raise ValueError("only credits expire")
        return self


class CatalogueData(BaseModel):
    """The file. `fallback_tier` is what an account has without a subscription; `ignored` products are not ours."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    fallback_tier: str = DEFAULT_TIER
    portal_url: str = ""
    ignored: list[str] = Field(default_factory=list)
    offers: list[Offer] = Field(default_factory=list)

    _portal_url = field_validator("portal_url")(_https)

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        keys = [offer.key for offer in self.offers]
        if len(keys) != len(set(keys)):
            raise ValueError("two offers have the same key")
        return self

    def offer(self, key: str) -> Offer | None:
        """The offer of a product."""
        return next((offer for offer in self.offers if offer.key == key), None)


class Catalogue:
    """The file behind the setting. One that is spoilt later counts as it was before, with a line in the log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: tuple[int, int] | None = None
        self._data: CatalogueData | None = None

    def current(self) -> CatalogueData:
        """What it says now. Raises `BadSettingError` when it never could be read."""
        try:
            stat = self._path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if self._data is None or mark != self._mark:
                self._mark = mark
                self._data = parse(self._path)
        except (OSError, BadSettingError) as error:
            if self._data is None:
                if isinstance(error, OSError):
                    raise BadSettingError(f"{SETTING} can't be read", str(error.strerror).lower()) from error
                raise
            log.error("billing.catalogue_spoilt", error=str(error))
        return self._data


def parse(path: Path) -> CatalogueData:
    """A catalogue's file. Raises `OSError`, and `BadSettingError` naming what is wrong in it."""
    text = path.read_text(encoding="utf-8")
    try:
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return CatalogueData.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        problem = first["msg"].removeprefix("Value error, ")
        raise BadSettingError(f"{SETTING} can't be used", f"{where}: {problem}") from None
    except ValueError as error:
        raise BadSettingError(f"{SETTING} can't be read", str(error)) from None
