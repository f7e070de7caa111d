"""The account page: credits with their ledger, and API keys."""

# ruff: noqa: RUF012 - Reflex copies a var's default for each session.

from typing import Any

import reflex as rx
from reflex.event import EventSpec

from frontend.gateway import Refused, Unavailable, gateway
from frontend.money_views import CreditsView, ReceiptView
from frontend.states import browser
from frontend.states.jobs import Jobs
from frontend.views import AccountView, KeyView, LedgerView

_DAYS = {"30": 30, "90": 90, "365": 365, "never": None}
_READ = "videos:read"
_EXAMPLE_PROMPT = "a yellow star growing on a green background"
_CURL = f"""curl {{url}}/v1/videos \\
  -H "Authorization: Bearer {{key}}" \\
  -F 'prompt={_EXAMPLE_PROMPT}'"""
_CURL_READS = """curl {url}/v1/videos \\
  -H "Authorization: Bearer {key}\""""
_CLIENT = """from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key="{key}")
"""
_PYTHON = f"""{_CLIENT}video = client.videos.create_and_poll(prompt="{_EXAMPLE_PROMPT}")
client.videos.download_content(video.id).write_to_file("star.mp4")"""
_PYTHON_READS = f"""{_CLIENT}for video in client.videos.list():
    print(video.id, video.status, video.prompt)"""


class Account(Jobs):
    """Credits, receipts, ledger and keys of the account."""

    credits: CreditsView = CreditsView()
    receipts: list[ReceiptView] = []
    receipts_cursor: str = ""
    entries: list[LedgerView] = []
    ledger_cursor: str = ""
    keys: list[KeyView] = []
    read: bool = False
    page_trouble: str = ""
    new_name: str = ""
    new_only_reads: bool = False
    key_error: str = ""
    ending: KeyView = KeyView(id="", name="", hint="", scopes="", created_at="")

    async def _read_account(self, who: AccountView) -> None:
        try:
            self.credits = await gateway().credits(who)
            bills = await gateway().receipts(who)
            self.receipts, self.receipts_cursor = bills.receipts, bills.cursor
            page = await gateway().ledger(who)
            self.entries, self.ledger_cursor = page.entries, page.cursor
            self.keys = await gateway().keys(who)
            self.read, self.page_trouble = True, ""
        except Unavailable:
            self.page_trouble = "Your account could not be read just now."

    @rx.event
    async def open(self) -> EventSpec | None:
        """Read credits, receipts, ledger and keys; a secret shown before is gone."""
        who = await self._who()
        self.new_name = self.key_error = ""
        await self._read_account(who)
        return None

    @rx.event
    async def older(self) -> EventSpec | None:
        """Read further back in the ledger."""
        who = await self._who()
        if not self.ledger_cursor:
            return None
        page = await gateway().ledger(who, cursor=self.ledger_cursor)
        self.entries, self.ledger_cursor = [*self.entries, *page.entries], page.cursor
        return None

    @rx.event
    async def older_receipts(self) -> EventSpec | None:
        """Read further back in the receipts."""
        who = await self._who()
        if not self.receipts_cursor:
            return None
        page = await gateway().receipts(who, cursor=self.receipts_cursor)
        self.receipts, self.receipts_cursor = [*self.receipts, *page.receipts], page.cursor
        return None

    @rx.event
    async def create_key(self, fields: dict[str, Any]) -> EventSpec | None:
        """Make an API key and show its secret, this once."""
        who = await self._who()
        if self.new_name:
            return None  # pressed twice: the form that was sent is gone, and its fields were emptied
        scopes = [_READ] if fields.get("scope") == "read" else [_READ, "videos:write"]
        try:
            key, secret = await gateway().create_key(
                who,
                name=str(fields.get("name") or "").strip(),
                scopes=scopes,
                expires_in_days=_DAYS.get(str(fields.get("days")), 90),
            )
        except Refused as refused:
            self.key_error = refused.message
            return None
        self.key_error = ""
        self.new_name, self.new_only_reads = key.name, scopes == [_READ]
        await self._read_account(who)
        return browser.show_secret(secret)

    @rx.var
    def curl_example(self) -> str:
        """A request that the new key may send, with `{key}` for it, to copy."""
        return (_CURL_READS if self.new_only_reads else _CURL).format(url=self.router.url.origin, key="{key}")

    @rx.var
    def python_example(self) -> str:
        """The same with the openai package."""
        return (_PYTHON_READS if self.new_only_reads else _PYTHON).format(
            url=self.router.url.origin, key="{key}"
        )

    @rx.var
    def grant_command(self) -> str:
        """How whoever runs the studio gives themselves credits; empty for others."""
        if self.account.role != "admin":
            return ""
        return f"zoetrope credits grant --email {self.account.email} --amount 1000"

    @rx.event
    async def forget_secret(self) -> EventSpec | None:
        """Stop showing the new key."""
        await self._who()
        self.new_name = self.key_error = ""
        return browser.focus(".key-form [type=submit]")

    @rx.event
    async def ask_to_revoke(self, key_id: str) -> EventSpec | None:
        """Ask before ending a key."""
        await self._who()
        found = next((key for key in self.keys if key.id == key_id), None)
        if found is None:
            return None
        self.ending = found
        return browser.open_dialog("revoke-key")

    @rx.event
    async def revoke(self) -> list[EventSpec] | EventSpec | None:
        """End the key that was asked about."""
        who = await self._who()
        await gateway().revoke_key(who, self.ending.id)
        await self._read_account(who)
        return [
            browser.close_dialog("revoke-key"),
            browser.toast("Revoked. Requests with it are refused from now on."),
        ]
