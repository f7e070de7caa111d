#!/bin/sh
# Sees to a Chromium that the browser tests can drive: the system's, else Debian's package, else Playwright's own.
set -eu

cd "$(dirname "$0")/.."
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    # Ubuntu's package of that name is a stub that wants snap: only one that runs counts.
    if command -v "$name" >/dev/null 2>&1 && "$name" --version >/dev/null 2>&1; then
        exit 0
    fi
done
playwrights_own() {
    .venv/bin/python - <<'PY'
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    sys.exit(not pathlib.Path(playwright.chromium.executable_path).exists())
PY
}
playwrights_own 2>/dev/null && exit 0

echo "setup: installing Chromium for the browser tests"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null &&
        chromium --version >/dev/null 2>&1; then
        exit 0
    fi
fi
.venv/bin/playwright install chromium || {
    echo "setup: no Chromium could be installed: install one as \`chromium\`, then run this again" >&2
    exit 1
}
