#!/usr/bin/env bash
# Builds the image of deploy/Containerfile from a program that is built already, and runs it as its own user with a read-only root.
# AAA_BIN names the program `aaa`.
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=
[ "$(id -u)" = 0 ] || missing=" root"
for program in buildah bwrap python3 setpriv; do
    command -v "$program" >/dev/null 2>&1 || missing+=" $program"
done
if [ -n "$missing" ]; then
    echo "not run: the test of the container needs$missing (Debian: apt-get install bubblewrap buildah python3)" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
fi

# In a network of its own, where the ports of the image are free.
exec bwrap --dev-bind / / --unshare-net --die-with-parent python3 -B tests/install/container.py
