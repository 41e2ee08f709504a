#!/bin/sh
# Write the three lock files anew from pyproject.toml, for every supported Python, with hashes and no
# index address. Needs `uv` (pip install uv); set-up itself needs only pip.
set -eu
cd "$(dirname "$0")/.."
lock() {
    out=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --no-emit-index-url --custom-compile-command "make lock" --output-file "$out" "$@" pyproject.toml
}
lock requirements.lock --extra terminal --extra simulators --extra postgres --group dev --group pcsc-build
# Constrained by the first, so that one environment can hold all of them.
lock requirements-pcsc.lock --extra pcsc --constraint requirements.lock
lock requirements-wedge.lock --extra wedge --constraint requirements.lock
