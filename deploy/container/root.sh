#!/usr/bin/env bash
# Assembles the root file system of the container image from the program `aaa`: it, its other names, the libraries that it loads, the
# certificate authorities of this machine, and where a service keeps things. No shell, and nothing else.
set -euo pipefail

program=$(realpath "${1:?the program aaa, as cargo built it}")
root=${2:?a directory to make}

mkdir "$root"
cd "$root"
mkdir -p dev proc etc/ssl/certs etc/aaa usr/bin var/lib/aaa/spool
install --strip "$program" usr/bin/aaa
for name in aaa-login aaa-signer choria-login; do
    ln -s aaa "usr/bin/$name"
done
# "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f…)", and "/lib64/ld-linux-x86-64.so.2 (0x7f…)" of the loader.
ldd "$program" | grep -o '/[^ ]*' | xargs cp --parents --dereference --target-directory .
install -m 644 /etc/ssl/certs/ca-certificates.crt etc/ssl/certs
echo 'aaa:x:65532:65532:Choria AAA:/var/lib/aaa:/nonexistent' >etc/passwd
echo 'aaa:x:65532:' >etc/group
