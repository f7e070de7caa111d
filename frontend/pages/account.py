"""The account: what there is to spend, where it came from and went, and keys for programs."""

from typing import Any

import reflex as rx

from frontend.components.controls import button, choice, dialog, field, icon, icon_button, text_input
from frontend.components.elements import theme_choice, time_ago
from frontend.components.faces import failed, skeleton_rows
from frontend.components.money import grants, more_credits, receipts
from frontend.layouts.shell import shell
from frontend.states.account import Account


def _balance() -> rx.Component:
    return rx.el.section(
        rx.el.div(
            rx.el.p(Account.account.credits_label, class_name="balance"),
            rx.el.p(
                "credits to spend",
                rx.cond(
                    Account.account.held_credits > 0,
                    rx.el.span(f"{Account.account.held_credits} more held for jobs on their way"),
                ),
                rx.cond(
                    Account.credits.owed != "",
                    rx.el.span(f"{Account.credits.owed} owed: the next purchase pays them first"),
                ),
                class_name="balance-words",
            ),
        ),
        rx.el.dl(
            rx.el.div(rx.el.dt("Signed in as"), rx.el.dd(Account.account.email)),
            rx.el.div(rx.el.dt("Tier"), rx.el.dd(Account.account.tier, class_name="tier")),
            rx.el.div(rx.el.dt("Appearance"), rx.el.dd(theme_choice())),
            rx.cond(
                Account.credits.next_at != "",
                rx.el.div(
                    rx.el.dt("Next month"),
                    rx.el.dd(f"{Account.credits.next_amount} credits, ", time_ago(Account.credits.next_at)),
                ),
            ),
            class_name="facts",
        ),
        rx.el.div(
            rx.cond(
                Account.account.has_password,
                button("Password", icon_name="key", custom_attrs={"data-opens": "set-password"}),
                button(
                    "Set a password",
                    tone="primary",
                    icon_name="key",
                    custom_attrs={"data-opens": "set-password"},
                ),
            ),
            rx.el.form(
                rx.el.button(
                    icon("leave"), rx.el.span("Sign out"), type="submit", class_name="button button-plain"
                ),
                rx.el.p(class_name="field-error", role="alert", custom_attrs={"data-error": ""}),
                custom_attrs={"data-post": "/auth/sign-out", "data-then": "/sign-in"},
            ),
            class_name="account-verbs",
        ),
        rx.cond(
            Account.account.signed_in & ~Account.account.has_password,
            rx.el.p(
                "The link that you came in by works once. With a password you come back from any browser; without one"
                " you need a new link, which whoever runs this studio makes with ",
                rx.el.code(f"zoetrope users link --email {Account.account.email}"),
                ".",
                class_name="account-no-password",
            ),
        ),
        class_name="panel account-top",
    )


def _entry(entry: Any) -> rx.Component:
    return rx.el.tr(
        rx.el.td(time_ago(entry.at), class_name="when"),
        rx.el.td(
            rx.cond(
                entry.job_id != "",
                rx.el.a(entry.what, href=f"/clips/{entry.job_id}", class_name="row-what"),
                entry.what,
            )
        ),
        rx.el.td(entry.amount, class_name=rx.cond(entry.incoming, "number incoming", "number")),
        rx.el.td(entry.balance, class_name="number"),
    )


def _ledger() -> rx.Component:
    return rx.el.details(
        rx.el.summary(
            rx.el.h2("Ledger", class_name="section-title"),
            rx.el.span("every entry of the books", class_name="none"),
            icon("chevron"),
            class_name="ledger-label",
        ),
        rx.cond(
            Account.entries.length() > 0,
            rx.fragment(
                rx.el.table(
                    rx.el.thead(
                        rx.el.tr(
                            rx.el.th("When", scope="col"),
                            rx.el.th("What", scope="col"),
                            rx.el.th("Credits", scope="col", class_name="number"),
                            rx.el.th("Balance", scope="col", class_name="number"),
                        )
                    ),
                    rx.el.tbody(rx.foreach(Account.entries, _entry)),
                    class_name="table",
                ),
                rx.cond(
                    Account.ledger_cursor != "",
                    button("Older entries", tone="quiet", on_click=Account.older),
                ),
            ),
            rx.el.p(
                "Nothing yet. Grants and charges are listed here, each with the clip it was for.",
                class_name="none",
            ),
        ),
        class_name="section ledger",
    )


def _key(key: Any) -> rx.Component:
    return rx.el.li(
        icon("key"),
        rx.el.div(
            rx.el.p(key.name, class_name="key-name"),
            rx.el.p(rx.el.span(key.hint, class_name="mono"), rx.el.span(key.scopes), class_name="key-facts"),
        ),
        rx.el.dl(
            rx.el.div(rx.el.dt("Created"), rx.el.dd(time_ago(key.created_at))),
            rx.el.div(
                rx.el.dt("Last used"),
                rx.el.dd(rx.cond(key.last_used_at != "", time_ago(key.last_used_at), rx.el.span("never"))),
            ),
            rx.el.div(
                rx.el.dt("Expires"),
                rx.el.dd(rx.cond(key.expires_at != "", time_ago(key.expires_at), rx.el.span("never"))),
            ),
            class_name="key-times",
        ),
        rx.cond(
            key.live,
            button(
                "Revoke",
                tone="quiet",
                on_click=Account.ask_to_revoke(key.id),
                aria_label=f"Revoke {key.name}",
            ),
            rx.el.span(key.state_label, class_name="key-over"),
        ),
        class_name=rx.cond(key.live, "key", "key key-dead"),
    )


def _example(title: str, code: Any) -> rx.Component:
    return rx.el.details(
        rx.el.summary(title, icon("chevron"), class_name="menu-label"),
        rx.el.div(
            rx.el.pre(rx.el.code(custom_attrs={"data-secret": code})),
            icon_button("copy", "Copy", custom_attrs={"data-secret-copies": code, "data-copied": "Copied"}),
            class_name="command",
        ),
        class_name="example-code",
    )


def _new_key() -> rx.Component:
    return rx.cond(
        Account.new_name != "",
        rx.el.div(
            rx.el.h3(f"Copy “{Account.new_name}” now"),
            rx.el.p("It is shown this once. We keep only a hash of it."),
            rx.el.div(
                rx.el.code(
                    id="new-secret", tab_index=0, class_name="secret", custom_attrs={"data-secret": "{key}"}
                ),
                button(
                    "Copy",
                    tone="primary",
                    icon_name="copy",
                    custom_attrs={"data-secret-copies": "{key}", "data-copied": "Key copied"},
                ),
                button("Done", on_click=Account.forget_secret),
                class_name="secret-row",
            ),
            _example("With curl", Account.curl_example),
            _example("With the openai package", Account.python_example),
            class_name="panel secret-panel",
            role="status",
        ),
        rx.el.form(
            field(
                "Name",
                text_input("name", placeholder="render farm", auto_complete="off", max_length=80),
                name="name",
            ),
            rx.el.fieldset(
                rx.el.legend("Permissions", class_name="field-label"),
                rx.el.div(
                    choice("scope", "write", "Make and read", checked=True),
                    choice("scope", "read", "Read only", checked=False),
                    class_name="choices",
                ),
                class_name="field",
            ),
            rx.el.fieldset(
                rx.el.legend("Expires after", class_name="field-label"),
                rx.el.div(
                    choice("days", "30", "30 days", checked=False),
                    choice("days", "90", "90 days", checked=True),
                    choice("days", "365", "A year", checked=False),
                    choice("days", "never", "Never", checked=False),
                    class_name="choices",
                ),
                class_name="field",
            ),
            rx.el.button(rx.el.span("Create key"), type="submit", class_name="button button-plain"),
            rx.el.p(Account.key_error, class_name="field-error", role="alert"),
            on_submit=Account.create_key,
            reset_on_submit=True,
            class_name="key-form",
        ),
    )


def _keys() -> rx.Component:
    return rx.el.section(
        rx.el.h2("API keys", class_name="section-title"),
        rx.el.p(
            "For programs. Point any OpenAI client at this studio’s ",
            rx.el.code("/v1"),
            " and give it a key.",
            class_name="section-words",
        ),
        _new_key(),
        rx.cond(
            Account.keys.length() > 0,
            rx.el.ul(rx.foreach(Account.keys, _key), class_name="keys"),
        ),
        class_name="section",
    )


def _filled() -> rx.Component:
    return rx.fragment(
        _balance(),
        rx.el.div(
            rx.el.div(
                grants(Account.credits),
                receipts(Account.receipts, more=Account.receipts_cursor != "", older=Account.older_receipts),
                _ledger(),
            ),
            rx.el.div(more_credits(Account.credits, grant_command=Account.grant_command), _keys()),
            class_name="account-columns",
        ),
    )


def _waiting() -> rx.Component:
    return rx.el.div(
        rx.el.div(class_name="skeleton skeleton-panel"),
        rx.el.div(*(skeleton_rows(5, class_name="section") for _ in range(2)), class_name="account-columns"),
        aria_hidden="true",
    )


def account_page() -> rx.Component:
    """Credits, receipts, ledger, keys."""
    return shell(
        "Account",
        rx.cond(
            Account.page_trouble != "",
            failed(Account.page_trouble, again=Account.open),
            rx.cond(Account.read, _filled(), _waiting()),
        ),
        dialog(
            "revoke-key",
            "Revoke this key?",
            rx.el.p(
                "Programs that use ",
                rx.el.strong(Account.ending.name),
                " are refused from then on. It cannot be undone.",
            ),
            rx.el.div(
                button("Keep it", custom_attrs={"data-closes": ""}),
                button("Revoke", tone="danger", on_click=Account.revoke),
                class_name="dialog-verbs",
            ),
        ),
        here="/account",
        class_name="room-account",
    )
