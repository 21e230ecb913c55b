#!/usr/bin/env bash
# Sees to the servers that tests run, in the directory given, and prints the environment that names them. What is there is used;
# what is missing is built with Go; where neither can be, the tests that need it say that they did not run (and fail where CI is set).
set -euo pipefail

directory=${1:?a directory for tools}
nats_version=v2.15.2

mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
if [ ! -x "$directory/nats-server" ]; then
    if command -v "${GO:-go}" >/dev/null 2>&1; then
        echo "building nats-server $nats_version, once" >&2
        GOBIN=$directory "${GO:-go}" install "github.com/nats-io/nats-server/v2@$nats_version" >&2
    elif ! command -v nats-server >/dev/null 2>&1; then
        echo "missing: nats-server; install Go 1.25 or newer (https://go.dev/dl), or nats-server 2.10 or newer" >&2
    fi
fi
[ ! -x "$directory/nats-server" ] || echo "export AAA_NATS_SERVER='$directory/nats-server'"
