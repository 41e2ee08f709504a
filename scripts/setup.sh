#!/bin/sh
# Prepare this checkout: system libraries, virtual environment, locked dependencies, the package itself.
# Run twice, it does nothing the second time. Anything that cannot be had switches one reader off, and
# the script says which; only Python itself and the locked wheels are indispensable. With the argument
# `tests` it also installs the browser that tests the till's pages.
set -eu
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
PYTHON=${PYTHON:-python3}
say() { printf 'setup: %s\n' "$*"; }

# --- system libraries -------------------------------------------------------------------------------
# package|what is off without it
PACKAGES='libzbar0|the second QR decoder (pyzbar)
libusb-1.0-0|USB contactless readers (nfcpy)
pcscd|PC/SC readers (pyscard)
vsmartcard-vpcd|the simulated PC/SC reader
libpcsclite-dev|PC/SC readers (pyscard is compiled here)
gcc|PC/SC readers and keyboard scanners (pyscard and evdev are compiled here)
umockdev|the simulated keyboard scanner
fonts-wqy-zenhei|Chinese text on printed receipts'
[ "${1:-}" != tests ] || PACKAGES="$PACKAGES
chromium|tests of the till's pages in a browser"

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"
    else return 1
    fi
}

install_system_packages() {
    command -v dpkg-query >/dev/null 2>&1 || { say "not a Debian system: install by hand: $(echo "$PACKAGES" | cut -d'|' -f1 | tr '\n' ' ')"; return; }
    missing=''
    for package in $(echo "$PACKAGES" | cut -d'|' -f1); do
        installed "$package" || missing="$missing $package"
    done
    # A distribution's own Python often comes without venv.
    "$PYTHON" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv python3-dev"
    [ -n "$missing" ] || return 0
    say "installing system packages:$missing"
    if as_root true; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null 2>&1 || say "apt-get update failed; trying with the lists at hand"
        # One by one, so that one missing package costs one reader and not all.
        for package in $missing; do
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 || say "could not install $package"
        done
    else
        say "neither root nor sudo: system packages stay as they are"
    fi
    echo "$PACKAGES" | while IFS='|' read -r package purpose; do
        installed "$package" || say "OFF without $package: $purpose"
    done
}

# --- Python -----------------------------------------------------------------------------------------
check_python() {
    "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
        say "Python 3.11 to 3.13 is needed, $PYTHON is $("$PYTHON" --version 2>&1); set PYTHON=/path/to/python3"
        exit 1
    }
}

stamp() { cat pyproject.toml requirements.lock requirements-pcsc.lock requirements-wedge.lock scripts/setup.sh | cksum | tr ' ' '-'; }

install_python_packages() {
    if [ -f "$VENV/.setup-$(stamp)" ]; then return 0; fi
    say "virtual environment in $VENV"
    [ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
    say "locked dependencies (a minute or two the first time)"
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: --no-binary pydes -r requirements.lock
    say "pyscard (compiled against libpcsclite)"
    complete=yes
    # Without isolation: setuptools and swig have just come from the lock, hashes checked.
    if ! PATH="$(pwd)/$VENV/bin:$PATH" "$VENV/bin/python" -m pip install -qq --disable-pip-version-check \
        --require-hashes --no-build-isolation -r requirements-pcsc.lock >"$VENV/pyscard.log" 2>&1; then
        say "OFF: PC/SC readers, pyscard could not be built (see $VENV/pyscard.log)"
        complete=''
    fi
    say "evdev (compiled against the kernel's headers)"
    if ! PATH="$(pwd)/$VENV/bin:$PATH" "$VENV/bin/python" -m pip install -qq --disable-pip-version-check \
        --require-hashes --no-build-isolation -r requirements-wedge.lock >"$VENV/evdev.log" 2>&1; then
        say "OFF: scanners that type as keyboards, evdev could not be built (see $VENV/evdev.log)"
        complete=''
    fi
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
    rm -f "$VENV"/.setup-*
    # A set-up without one of them is tried again next time: the missing header may have come by then.
    [ -z "$complete" ] || touch "$VENV/.setup-$(stamp)"
}

check_python
install_system_packages
check_python
install_python_packages
say "ready: $VENV/bin holds tapscan-gateway, tapscan-terminal and tapscan-sim"
