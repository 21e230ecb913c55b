#!/usr/bin/env bash
# Says what is missing to build here, and how to get it.
set -eu

missing=0
need() { # program, what it is for, how to get it
    command -v "$1" >/dev/null 2>&1 && return
    printf 'missing: %-6s %s\n         %s\n' "$1" "$2" "$3" >&2
    missing=1
}

need cargo "builds everything" "install Rust with rustup: https://rustup.rs"
need cc "builds the crypto library" "Debian: apt-get install build-essential"
need perl "builds the crypto library" "Debian: apt-get install perl"
need make "builds the crypto library" "Debian: apt-get install build-essential"
exit "$missing"
