"""The pages around a sign-in link, in the studio's look; readable too where only the API is served and no look is."""

import html
from string import Template
from typing import Final

NEW_LINK = "zoetrope users link --email you@example.org"


def link_page(*, action: str, nonce: str) -> str:
    """A form that posts to `action` by itself; `nonce` is the policy's."""
    return _PAGE.substitute(
        title="Sign in",
        words="One moment.",
        body=(
            f'<form method="post" action="{html.escape(action, quote=True)}">'
            '<button class="button button-primary button-wide">Sign in to Zoetrope</button></form>'
            f'<script nonce="{nonce}">document.forms[0].requestSubmit()</script>'
        ),
    )


def ended_page() -> str:
    """A link lets nobody in any more: why, and the ways in that are left."""
    return _PAGE.substitute(
        title="This link has ended",
        words="A link signs in once. This one was used, or its time is over.",
        body=(
            '<div class="door-note">'
            '<a class="button button-primary button-wide" href="/sign-in">Sign in with a password</a>'
            '<p class="field-hint">Without one, ask whoever runs this studio for a new link. They make it with</p>'
            f'<code class="door-code">{NEW_LINK}</code>'
            '<p class="field-hint">The address of the first admin is <code>admin@localhost</code>;'
            " <code>zoetrope users list</code> shows everybody’s.</p>"
            "</div>"
        ),
    )


def policy(nonce: str = "") -> str:
    """The content security policy of these pages: the studio's own style, and the one script that `nonce` names."""
    inline = f" 'nonce-{nonce}'" if nonce else ""
    return (
        f"default-src 'none'; script-src 'self'{inline}; style-src 'self'; font-src 'self'; img-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark light">
<title>$title · Zoetrope</title>
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/tokens.css">
<link rel="stylesheet" href="/studio.css">
<script src="/js/theme.js"></script>
</head>
<body>
<div class="door door-alone">
<main class="door-main">
<a class="door-mark" href="/"><img class="mark" src="/favicon.svg" alt="" width="28" height="28">Zoetrope</a>
<div class="door-form"><h1>$title</h1><p class="door-words">$words</p>$body</div>
</main>
</div>
</body>
</html>
""")
