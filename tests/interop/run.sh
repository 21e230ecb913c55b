#!/usr/bin/env bash
# Runs the tests with the real Choria where Go is; says so where it is not. AAA_BIN names the program, GO the Go command.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v "${GO:-go}" >/dev/null 2>&1; then
    echo "not run: the tests with the real Choria need Go 1.25 or newer (https://go.dev/dl, or Debian's golang)" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
fi
# Choria asks for both.
export HOME="${HOME:-/root}" USER="${USER:-$(id -un)}"
"${GO:-go}" vet ./...
exec "${GO:-go}" test -count=1 ./...
