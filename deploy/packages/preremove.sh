#!/bin/sh
set -e

[ -d /run/systemd/system ] || exit 0
# A removal, and no upgrade: as dpkg says it, and as rpm does.
case $1 in
remove) deb-systemd-invoke stop aaa-login.service aaa-signer.service ;;
0) systemctl --no-reload disable --now aaa-login.service aaa-signer.service ;;
esac
