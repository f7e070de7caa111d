"""Money on the pages: refusals beside the composer, receipts, credits by grant, and where more come from."""

from typing import Any

import reflex as rx

from frontend.components.controls import button, icon
from frontend.components.elements import time_ago


def refusal(*, shown: Any, words: Any, again_at: Any, code: Any) -> rx.Component:
    """Why a whole draft was refused, when it will work again, and where to look."""
    return rx.cond(
        shown,
        rx.el.div(
            icon("warning"),
            rx.el.p(
                words,
                rx.cond(again_at != "", rx.el.span(" It works again ", time_ago(again_at), ".")),
                rx.cond(code == "insufficient_credits", rx.fragment(" ", _to_credits(), ".")),
            ),
            class_name="refusal",
            role="alert",
        ),
    )


def shortfall(quote: Any) -> rx.Component:
    """What is missing for the price, before anything is sent."""
    return rx.cond(
        quote.note != "",
        rx.el.p(quote.note, " ", _to_credits(), ".", class_name="composer-note", role="status"),
    )


def quicker(quote: Any, *, make: Any) -> rx.Component:
    """A draft, offered while the wait is long: nobody gets one without pressing this."""
    return rx.cond(
        quote.quicker != "",
        rx.el.div(
            rx.el.p(quote.quicker, role="status"),
            button("Make a draft", on_click=make),
            class_name="composer-quicker",
        ),
    )


def _to_credits() -> rx.Component:
    return rx.el.a("See your credits", href="/account")


def receipt(one: Any) -> rx.Component:
    """A job's receipt on the page of its clip."""
    figures = (
        ("Quoted", one.quoted),
        (rx.cond(one.open, "Held", "Charged"), rx.cond(one.open, one.held, one.charged)),
        ("Given back", rx.cond(one.open, "–", one.refunded)),
    )
    return rx.el.section(
        rx.el.h3("Receipt", class_name="receipt-title"),
        rx.el.dl(
            *(rx.el.div(rx.el.dt(name), rx.el.dd(value)) for name, value in figures),
            class_name="receipt-figures",
        ),
        rx.el.p(one.why, " ", one.drawn, class_name="receipt-why"),
        class_name="receipt",
    )


def grants(credits: Any) -> rx.Component:
    """What there is to spend, grant by grant, in the order in which it is spent."""
    return rx.el.section(
        rx.el.h2("Credits", class_name="section-title"),
        rx.cond(
            credits.withheld != "",
            rx.el.div(icon("warning"), rx.el.p(credits.withheld), class_name="refusal", role="status"),
        ),
        rx.cond(
            credits.grants.length() > 0,
            _table("Spent in this order", "Left", "Ends", rows=rx.foreach(credits.grants, _grant)),
            rx.el.p("Nothing to spend just now.", class_name="none"),
        ),
        class_name="section",
    )


def _grant(grant: Any) -> rx.Component:
    return rx.el.tr(
        rx.el.td(grant.what, rx.cond(grant.note != "", rx.el.span(grant.note, class_name="row-note"))),
        rx.el.td(grant.left, rx.el.span(" of ", grant.of, class_name="of"), class_name="number"),
        rx.el.td(rx.cond(grant.ends_at != "", time_ago(grant.ends_at), "never"), class_name="when number"),
    )


def receipts(rows: Any, *, more: Any, older: Any) -> rx.Component:
    """Receipts, newest first."""
    return rx.el.section(
        rx.el.h2("Receipts", class_name="section-title"),
        rx.cond(
            rows.length() > 0,
            rx.fragment(
                _table("Clip", "Charged", "Back", rows=rx.foreach(rows, _receipt)),
                rx.cond(more, button("Older receipts", tone="quiet", on_click=older)),
            ),
            rx.el.p(
                "Nothing yet. Each clip gets a receipt: what it was quoted, what it cost, and why.",
                class_name="none",
            ),
        ),
        class_name="section receipts-list",
    )


def _receipt(one: Any) -> rx.Component:
    return rx.el.tr(
        rx.el.td(
            rx.cond(
                one.href != "",
                rx.el.a(one.what, href=one.href, class_name="row-what"),
                rx.el.span(one.what, class_name="row-what"),
            ),
            rx.el.span(time_ago(one.at), " · ", one.short, class_name="row-note", title=one.why),
        ),
        rx.el.td(
            rx.cond(one.open, one.held, one.charged),
            rx.cond(
                one.open,
                rx.el.span(" held", class_name="of"),
                rx.el.span(" of ", one.quoted, class_name="of"),
            ),
            class_name="number",
        ),
        rx.el.td(rx.cond(one.open | (one.refunded == "0"), "–", one.refunded), class_name="number"),
    )


def _table(*names: str, rows: Any) -> rx.Component:
    first, *others = names
    return rx.el.table(
        rx.el.thead(
            rx.el.tr(
                rx.el.th(first, scope="col"),
                *(rx.el.th(name, scope="col", class_name="number") for name in others),
            )
        ),
        rx.el.tbody(rows),
        class_name="table",
    )


def more_credits(credits: Any, *, grant_command: Any) -> rx.Component:
    """What can be bought, and whom to ask; whoever would be asked is told the command that gives."""
    return rx.el.section(
        rx.el.h2("More credits", class_name="section-title"),
        rx.cond(
            credits.offers.length() > 0, rx.el.ul(rx.foreach(credits.offers, _offer), class_name="offers")
        ),
        rx.cond(
            grant_command != "",
            rx.el.div(
                rx.el.p(
                    "You run this studio. Where it runs, credits are given with", class_name="section-words"
                ),
                rx.el.code(grant_command, class_name="door-code"),
                class_name="give-credits",
            ),
        ),
        rx.cond(
            # Who runs the studio is not sent to themselves.
            (credits.ask != "") & ((grant_command == "") | (credits.ask_url != "")),
            rx.el.p(
                rx.cond(credits.offers.length() > 0, "Questions? Ask ", "Ask "),
                rx.cond(credits.ask_url != "", rx.el.a(credits.ask, href=credits.ask_url), credits.ask),
                ".",
                rx.cond(
                    credits.portal_url != "",
                    rx.el.span(
                        " A subscription is changed or ended ",
                        rx.el.a("on its own page", href=credits.portal_url, rel="noreferrer"),
                        ".",
                    ),
                ),
                class_name="section-words",
            ),
        ),
        class_name="section",
    )


def _offer(offer: Any) -> rx.Component:
    return rx.el.li(
        rx.el.span(offer.title, class_name="offer-title"),
        rx.el.span(offer.price, class_name="offer-price"),
        rx.el.a(
            "Buy",
            href=offer.url,
            rel="noreferrer",
            aria_label=f"Buy {offer.title}",
            class_name="button button-plain",
        ),
        class_name="offer",
    )
