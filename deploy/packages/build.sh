#!/usr/bin/env bash
# Makes the deb and the rpm from the program `aaa`, and prints their paths. A version other than that of Cargo.toml can be given.
set -euo pipefail

program=$(realpath "${1:?the program aaa, as cargo built it}")
mkdir -p "${2:?a directory for the packages}"
out=$(realpath "$2")
cd "$(dirname "$0")/../.."

command -v nfpm >/dev/null 2>&1 || {
    echo "missing: nfpm, which makes packages: go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MAINTAINER="The Choria Project <info@choria.io>"
export VERSION=${3:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)}
deploy/packages/stage.sh "$program" "$work/stage" "$VERSION"
case $(uname -m) in
x86_64) export ARCH=amd64 ;;
aarch64) export ARCH=arm64 ;;
*) export ARCH=$(uname -m) ;;
esac
# The oldest C library that has all that the program asks of it.
export GLIBC=$(objdump -T "$work/stage/usr/bin/aaa" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
cp deploy/packages/{nfpm.yaml,post*.sh,pre*.sh} "$work"
cd "$work"
for packager in deb rpm; do
    nfpm package --packager $packager --target "$out" | sed -n 's/^created package: //p'
done
