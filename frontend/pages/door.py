"""Sign-in, sign-up, password reset, confirmation: forms that post to plain routes (assets/js/account.js)."""

import reflex as rx

from frontend.components.controls import field, text_input
from frontend.layouts.door import door


def _wrong() -> rx.Component:
    return rx.el.p(class_name="field-error", role="alert", custom_attrs={"data-error": ""})


def _send(label: str) -> rx.Component:
    return rx.el.button(rx.el.span(label), type="submit", class_name="button button-primary button-wide")


def _done(words: str) -> rx.Component:
    return rx.el.p(words, class_name="door-done", role="status", custom_attrs={"data-done-words": ""})


def _email() -> rx.Component:
    return field(
        "E-mail",
        text_input("email", kind="email", auto_complete="username", required=True, auto_focus=True),
        name="email",
    )


def _password(label: str, auto_complete: str, hint: str = "") -> rx.Component:
    return field(
        label,
        text_input("password", kind="password", auto_complete=auto_complete, required=True),
        name="password",
        hint=hint,
    )


def sign_in_page() -> rx.Component:
    """E-mail and password."""
    return door(
        "Sign in",
        "Your clips, your queue, where you left them.",
        rx.el.form(
            _email(),
            _password("Password", "current-password"),
            _wrong(),
            _send("Sign in"),
            custom_attrs={"data-post": "/auth/sign-in", "data-then": "/"},
        ),
        foot=rx.fragment(
            rx.el.a("Forgot the password", href="/reset"),
            rx.el.a("Sign up", href="/sign-up"),
        ),
    )


def sign_up_page() -> rx.Component:
    """An account of one's own; by invitation unless the operator opened it."""
    return door(
        "Sign up",
        "Studios are open, closed, or by invitation: whoever runs this one has chosen.",
        rx.el.form(
            _email(),
            _password("Password", "new-password", "Twelve characters or more. A sentence is fine."),
            field(
                "Invitation code",
                text_input("invitation", auto_complete="off", spell_check=False),
                name="invitation",
                hint="Leave it empty if you were not given one.",
            ),
            _wrong(),
            _send("Make the account"),
            _done("Done. Look for a letter from us: its link confirms your address and sets your password."),
            custom_attrs={"data-post": "/auth/sign-up", "data-then": "/"},
        ),
        foot=rx.el.a("I have an account", href="/sign-in"),
    )


def reset_page() -> rx.Component:
    """Ask for a letter; with the letter's token, choose a new password."""
    return door(
        "New password",
        rx.fragment(
            rx.el.span(
                "We send a letter with a link, if this studio can send letters. Otherwise ask whoever runs it.",
                custom_attrs={"data-shown": "without-token"},
            ),
            rx.el.span(
                "Choose one, and you are signed in. Other browsers are signed out.",
                custom_attrs={"data-shown": "with-token"},
            ),
        ),
        rx.el.form(
            _email(),
            _wrong(),
            _send("Send the letter"),
            _done("If there is an account of that address, the letter is on its way."),
            class_name="reset-ask",
            custom_attrs={"data-post": "/auth/reset", "data-shown": "without-token"},
        ),
        rx.el.form(
            _password("New password", "new-password", "Twelve characters or more. A sentence is fine."),
            _wrong(),
            _send("Set the password"),
            class_name="reset-set",
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
    """Confirm the e-mail address with the letter's token."""
    return door(
        "Confirm your address",
        "Choose the password that you sign in with from now on, and the account is yours.",
        rx.el.form(
            _password("Password", "new-password", "Twelve characters or more. A sentence is fine."),
            _wrong(),
            _send("Confirm"),
            custom_attrs={"data-post": "/auth/confirm", "data-with-token": "", "data-then": "/"},
        ),
        foot=rx.el.a("Back to sign in", href="/sign-in"),
    )
