#!/bin/sh
# Makes .venv with the pinned packages and builds the web client. Returns at once when nothing changed.
#   sh tools/setup.sh [--test]
# PYTHON=python3.12   which interpreter        ZOETROPE_TORCH=cpu   the CPU build of torch on Linux (see README)
set -eu

cd "$(dirname "$0")/.."
extras=""
[ "${1:-}" = "--test" ] && extras="test"

fail() {
    echo "setup: $1" >&2
    exit 1
}

fit() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    # An environment that is there keeps its interpreter; the pins were resolved on 3.11.
    for candidate in ${PYTHON:+"$PYTHON"} .venv/bin/python python3.11 python3.12 python3.13 python3 python3.14 python; do
        if command -v "$candidate" >/dev/null 2>&1 && fit "$candidate"; then
            echo "$candidate"
            return
        fi
        [ "$candidate" = "${PYTHON:-}" ] && fail "PYTHON=$PYTHON is not Python 3.11 or newer"
    done
    fail "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3"
}

python=$(find_python)
# The folder is part of it: scripts in an environment that was moved with its checkout point to the old place.
wanted=$({ cat pyproject.toml constraints.txt; "$python" -V; pwd; echo "${ZOETROPE_TORCH:-}"; } | cksum)

case "${ZOETROPE_TORCH:-}" in
    "" | cpu) ;;
    *) fail "ZOETROPE_TORCH=$ZOETROPE_TORCH is not known: leave it empty, or set cpu" ;;
esac

pip_install() {
    rm -f .venv/.zoetrope-pip-done
    # Of what pip says, the large downloads and the last step: signs of life in minutes of work. $@: pip's arguments.
    { .venv/bin/python -m pip install --progress-bar off --constraint constraints.txt "$@" &&
        : >.venv/.zoetrope-pip-done; } | while read -r verb what size; do
        case "$verb $size" in
            Downloading*MB\) | Downloading*GB\)) echo "  downloading ${what##*/} $size" ;;
            Installing*) echo "  installing what was downloaded" ;;
        esac
    done
    [ -e .venv/.zoetrope-pip-done ] && rm .venv/.zoetrope-pip-done
}

install() {
    # $1: extras, or nothing. pip's own configuration (index, proxy, find-links) applies as it is.
    pip_install setuptools || return 1
    # PyTorch's own index is asked for these two alone; it answers for no other name.
    if [ "${ZOETROPE_TORCH:-}" = cpu ]; then
        if ! pip_install --no-deps --index-url https://download.pytorch.org/whl/cpu torch torchvision; then
            echo "setup: download.pytorch.org gave no torch: ZOETROPE_TORCH=cpu needs that host (a proxy, a firewall?)." \
                "Without ZOETROPE_TORCH the CUDA build comes from the usual index." >&2
            return 1
        fi
    fi
    pip_install --no-build-isolation --config-settings editable_mode=compat --editable ".${1:+[$1]}"
}

if [ "$(cat .venv/.zoetrope-setup 2>/dev/null || true)" != "$wanted" ]; then
    echo "setup: installing the pinned packages into .venv (the first time this downloads a lot)"
    if [ ! -x .venv/bin/python ] || [ -n "${PYTHON:-}" ] || ! grep -qF "$(pwd)" .venv/bin/pip; then
        case "$python" in .venv/*) python=$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))') ;; esac
        "$python" -m venv --clear .venv || fail "can't make .venv (on Debian and Ubuntu: apt install python3-venv)"
    fi
    rm -f .venv/.zoetrope-setup .venv/.zoetrope-setup-test
    install "" || fail "pip could not install the packages: see above"
    wanted=$({ cat pyproject.toml constraints.txt; .venv/bin/python -V; pwd; echo "${ZOETROPE_TORCH:-}"; } | cksum)
    echo "$wanted" >.venv/.zoetrope-setup
fi

if [ -n "$extras" ]; then
    if [ "$(cat .venv/.zoetrope-setup-test 2>/dev/null || true)" != "$wanted" ]; then
        echo "setup: installing what the tests need"
        install "$extras" || fail "pip could not install the packages: see above"
        echo "$wanted" >.venv/.zoetrope-setup-test
    fi
    sh tools/chromium.sh
fi

if [ -f frontend/build.py ]; then
    .venv/bin/python -m frontend.build || fail "the web client could not be built: see above"
fi
