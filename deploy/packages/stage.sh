#!/usr/bin/env bash
# Lays out what the packages hold, as it lies on a machine: the program `aaa` under all its names, units, configuration, completions,
# manual pages and documentation.
set -euo pipefail

program=$(realpath "${1:?the program aaa, as cargo built it}")
stage=${2:?a directory to make}
version=${3:?the version}
here=$(cd "$(dirname "$0")" && pwd)
umask 022

mkdir "$stage"
cd "$stage"
install -D --strip "$program" usr/bin/aaa
for name in aaa-login aaa-signer choria-login; do
    ln -s aaa "usr/bin/$name"
done

for service in "login:login service" "signer:signing service"; do
    name=${service%%:*}
    fill=(sed "s/@name@/$name/g; s/@title@/${service#*:}/g")
    mkdir -p "etc/aaa/$name" lib/systemd/system etc/logrotate.d
    "${fill[@]}" "$here/service.in" >"lib/systemd/system/aaa-$name.service"
    "${fill[@]}" "$here/logrotate.in" >"etc/logrotate.d/aaa-$name"
    cp "$here/$name.json" "etc/aaa/$name/config.json"
done
chmod 750 etc/aaa/*
chmod 640 etc/aaa/*/config.json
install -D -m 644 "$here/sysusers.conf" usr/lib/sysusers.d/choria-aaa.conf
install -D -m 644 "$here/tmpfiles.conf" usr/lib/tmpfiles.d/choria-aaa.conf

share=usr/share
mkdir -p $share/bash-completion/completions $share/zsh/{vendor-completions,site-functions} $share/fish/vendor_completions.d
"$program" completions bash >$share/bash-completion/completions/aaa
"$program" completions zsh >$share/zsh/vendor-completions/_aaa
"$program" completions zsh >$share/zsh/site-functions/_aaa
"$program" completions fish >$share/fish/vendor_completions.d/aaa.fish

mkdir -p $share/man/man1 $share/man/man8
"$program" man --dir $share/man/man1 >/dev/null
"$program" man aaa-login >$share/man/man8/aaa-login.8
"$program" man aaa-signer >$share/man/man8/aaa-signer.8
gzip -9n $share/man/*/*
# `aaa login` under the name by which the stock client runs it.
ln -s aaa-login.1.gz $share/man/man1/choria-login.1.gz

doc=$share/doc/choria-aaa
mkdir -p $doc/examples
cp -r "$here"/../../{README.md,CHANGELOG.md,docs} $doc
cp "$here"/../{prometheus/choria-aaa.rules.yml,grafana/choria-aaa.json} $doc/examples
cat >$doc/copyright <<'TEXT'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: aaa
Source: https://github.com/choria-io/aaa

Files: *
Copyright: 2026 The Choria Project
License: Apache-2.0
 On Debian systems the text of this license is in /usr/share/common-licenses/Apache-2.0.
TEXT
install -D -m 644 /dev/stdin $share/lintian/overrides/choria-aaa <<'TEXT'
# Keys and passwords are for their service alone, from the first moment on.
choria-aaa: non-standard-dir-perm 0750 != 0755 [etc/aaa/*]
choria-aaa: non-standard-file-perm 0640 != 0644 [etc/aaa/*]
# What makes the package puts it there.
choria-aaa: unknown-field License
TEXT
gzip -9n >$doc/changelog.gz <<TEXT
choria-aaa ($version) stable; urgency=medium

  * What changed is in CHANGELOG.md.

 -- ${MAINTAINER:-The Choria Project <info@choria.io>}  $(date -Ru --date="@${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || date +%s)}")
TEXT
