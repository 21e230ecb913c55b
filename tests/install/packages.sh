#!/usr/bin/env bash
# Builds the packages from a program that is built already, checks them, and installs, upgrades and removes them on a copy of this
# machine that is booted for it. Takes a directory for tools, where nfpm is built with Go, once; AAA_BIN names the program `aaa`.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=${1:?a directory for tools}
nfpm_version=v2.43.0

not_run() {
    echo "not run: the tests of the packages need $1" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
}

missing=
for program in dpkg lintian logrotate nsenter openssl python3 rpm systemd-analyze unshare; do
    command -v "$program" >/dev/null 2>&1 || missing+=" $program"
done
[ -z "$missing" ] || not_run "$missing (Debian: apt-get install lintian logrotate openssl python3 rpm systemd)"
groups=/sys/fs/cgroup/systemd
[ "$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] && [ -d $groups ] ||
    not_run "root on a machine whose init is not systemd, with control groups of version 1, such as a virtual machine for tests"

mkdir -p "$tools"
tools=$(realpath "$tools")
export PATH=$tools:$PATH
if ! command -v nfpm >/dev/null 2>&1; then
    command -v "${GO:-go}" >/dev/null 2>&1 && echo "building nfpm $nfpm_version, once" >&2 &&
        GOBIN=$tools "${GO:-go}" install "github.com/goreleaser/nfpm/v2/cmd/nfpm@$nfpm_version" >&2 ||
        not_run "Go 1.25 or newer (https://go.dev/dl) to build nfpm"
fi

# What the machine leaves of its control groups goes with this one.
group=$groups/aaa-install.$$
mkdir $group
trap 'find $group -depth -type d -exec rmdir {} +' EXIT
(
    echo $BASHPID >$group/cgroup.procs
    exec python3 -B tests/install/packages.py
)
