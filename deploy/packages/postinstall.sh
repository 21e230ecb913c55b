#!/bin/sh
set -e

systemd-sysusers choria-aaa.conf
systemd-tmpfiles --create choria-aaa.conf
if [ -d /run/systemd/system ]; then
    # dpkg says what is to do, and has a way to start things that heeds the machine's policy; rpm says a number.
    case $1 in
    configure) control=deb-systemd-invoke ;;
    *) control=systemctl ;;
    esac
    systemctl daemon-reload
    # What runs after an upgrade is the old program. Nothing is started that was not.
    $control try-restart aaa-login.service aaa-signer.service
fi
