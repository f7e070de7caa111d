"""Sign-in, sign-up, password reset, confirmation: forms that post to plain routes (assets/js/account.js)."""

from typing import Any

import reflex as rx

from backend.auth.passwords import MIN_CHARS
from frontend.components.controls import field, link_button, text_input
from frontend.components.faces import skeleton_rows
from frontend.layouts.door import door
from frontend.states.door import Door

_PASSWORD_HINT = "Twelve characters or more. A sentence is fine."
_NEW = "new-password"


def _wrong() -> rx.Component:
    return rx.el.p(class_name="field-error", role="alert", custom_attrs={"data-error": ""})


def _send(label: str) -> rx.Component:
    return rx.el.button(rx.el.span(label), type="submit", class_name="button button-primary button-wide")


def _done(words: str) -> rx.Component:
    return rx.el.p(words, class_name="door-done", role="status", custom_attrs={"data-done-words": ""})


def _email(**props: Any) -> rx.Component:
    return field(
        "E-mail",
        text_input("email", kind="email", auto_complete="username", required=True, **props),
        name="email",
    )


def _password(label: str, auto_complete: str, hint: str = "") -> rx.Component:
    return field(
        label,
        text_input(
            "password",
            kind="password",
            auto_complete=auto_complete,
            required=True,
            **({"min_length": MIN_CHARS} if auto_complete == _NEW else {}),
        ),
        name="password",
        hint=hint,
    )


def sign_in_page() -> rx.Component:
    """E-mail and password."""
    return door(
        "Sign in",
        "Your clips, your queue, where you left them.",
        rx.el.form(
            _email(auto_focus=True),
            _password("Password", "current-password"),
            _wrong(),
            _send("Sign in"),
            method="post",
            no_validate=True,
            custom_attrs={"data-post": "/auth/sign-in", "data-then": "/"},
        ),
        foot=rx.fragment(
            rx.cond(Door.door.sends_mail, rx.el.a("Forgot your password?", href="/reset")),
            rx.cond(
                Door.read & ~Door.door.sends_mail,
                rx.el.span("Forgot your password? Ask whoever runs this studio."),
            ),
            rx.cond(Door.read & (Door.door.signup != "closed"), rx.el.a("Sign up", href="/sign-up")),
        ),
    )


def _by_letter() -> Any:
    """Whether the address is confirmed by e-mail, where the password is chosen; an invitation to it does as well."""
    return Door.door.sends_mail & (Door.door.invited_email == "")


def _sign_up_words() -> rx.Component:
    return rx.match(
        Door.door.signup,
        (
            "open",
            rx.cond(
                Door.door.sends_mail,
                "Anybody may. We e-mail you a link, and you choose a password there.",
                "Anybody may, and you can start at once.",
            ),
        ),
        ("invitation", "This studio is by invitation: enter the code that you were given."),
        "",
    )


def _invited_words() -> rx.Component:
    return rx.fragment(
        "You are invited to ",
        rx.el.strong(Door.door.place),
        rx.cond(Door.door.invited_tier != "", rx.fragment(", in the ", Door.door.invited_tier, " tier")),
        rx.cond(
            _by_letter(),
            ". We e-mail you a link, and you choose a password there.",
            ". Choose a password, and you are in.",
        ),
    )


def _code() -> rx.Component:
    """The code's field; from an invitation's link it is known, and goes along unseen."""
    return rx.cond(
        Door.door.invitation == "good",
        rx.el.input(type="hidden", name="invitation", value=Door.code),
        rx.cond(
            Door.door.signup != "open",
            field(
                "Invitation code",
                text_input("invitation", auto_complete="off", spell_check=False, required=True),
                name="invitation",
            ),
        ),
    )


def _invited_email() -> rx.Component:
    return rx.cond(
        Door.door.invited_email != "",
        field(
            "E-mail",
            text_input(
                "email",
                kind="email",
                auto_complete="username",
                read_only=True,
                default_value=Door.door.invited_email,
            ),
            name="email",
            hint="The invitation is for this address.",
        ),
        _email(),
    )


def _sign_up_form() -> rx.Component:
    return rx.el.form(
        rx.cond(
            Door.door.invitation == "ended",
            rx.el.p(
                "This invitation was used, has ended, or is mistyped. Ask for another, or enter its code here.",
                class_name="field-error",
                role="alert",
            ),
        ),
        _invited_email(),
        rx.cond(_by_letter(), rx.fragment(), _password("Password", _NEW, _PASSWORD_HINT)),
        _code(),
        _wrong(),
        _send("Create the account"),
        _done("Done. Look for our e-mail: its link confirms your address and sets your password."),
        method="post",
        no_validate=True,
        custom_attrs={"data-post": "/auth/sign-up", "data-then": "/"},
    )


def sign_up_page() -> rx.Component:
    """An account of one's own: by the invitation in the link, by a code, freely, or not at all."""
    return door(
        "Sign up",
        rx.cond(Door.door.invitation == "good", _invited_words(), _sign_up_words()),
        rx.cond(
            Door.read,
            rx.cond(
                Door.door.signup == "closed",
                rx.fragment(
                    rx.el.p("This studio takes no new accounts. Ask whoever runs it to make one for you."),
                    link_button("To sign in", "/sign-in"),
                ),
                _sign_up_form(),
            ),
            skeleton_rows(3),
        ),
        foot=rx.el.a("I have an account", href="/sign-in"),
    )


def _no_mail() -> rx.Component:
    return rx.el.div(
        rx.el.p("They make it with", class_name="field-hint"),
        rx.el.code("zoetrope users link --email you@example.org", class_name="door-code"),
        class_name="door-note",
        custom_attrs={"data-shown": "without-token"},
    )


def reset_page() -> rx.Component:
    """Ask for a link by e-mail; with the link's token, choose a new password."""
    return door(
        "New password",
        rx.fragment(
            rx.el.span(
                rx.cond(
                    Door.read,
                    rx.cond(
                        Door.door.sends_mail,
                        "We e-mail you a link.",
                        "This studio sends no e-mail. Ask whoever runs it for a link that signs you in, once.",
                    ),
                    "",
                ),
                custom_attrs={"data-shown": "without-token"},
            ),
            rx.el.span(
                "Choose one, and you are signed in. Other browsers are signed out.",
                custom_attrs={"data-shown": "with-token"},
            ),
        ),
        rx.cond(
            Door.read,
            rx.cond(
                Door.door.sends_mail,
                rx.el.form(
                    _email(),
                    _wrong(),
                    _send("Send the link"),
                    _done("If there is an account of that address, the e-mail is on its way."),
                    class_name="reset-ask",
                    method="post",
                    no_validate=True,
                    custom_attrs={"data-post": "/auth/reset", "data-shown": "without-token"},
                ),
                _no_mail(),
            ),
            rx.el.div(skeleton_rows(2), custom_attrs={"data-shown": "without-token"}),
        ),
        rx.el.form(
            _password("New password", _NEW, _PASSWORD_HINT),
            _wrong(),
            _send("Set the password"),
            class_name="reset-set",
            method="post",
            no_validate=True,
            custom_attrs={
                "data-post": "/auth/reset",
                "data-with-token": "",
                "data-then": "/",
                "data-shown": "with-token",
            },
        ),
        foot=rx.el.a("Back to sign in", href="/sign-in"),
    )


def confirm_page() -> rx.Component:
    """Confirm the e-mail address with the token of the e-mail's link."""
    return door(
        "Confirm your address",
        rx.fragment(
            rx.el.span(
                "Choose the password that you sign in with from now on, and the account is yours.",
                custom_attrs={"data-shown": "with-token"},
            ),
            rx.el.span(
                "Open the link in the e-mail that we sent you: it brings you here, and you choose a password then.",
                custom_attrs={"data-shown": "without-token"},
            ),
        ),
        rx.el.form(
            _password("Password", _NEW, _PASSWORD_HINT),
            _wrong(),
            _send("Confirm"),
            method="post",
            no_validate=True,
            custom_attrs={
                "data-post": "/auth/confirm",
                "data-with-token": "",
                "data-then": "/",
                "data-shown": "with-token",
            },
        ),
        foot=rx.el.a("Back to sign in", href="/sign-in"),
    )
