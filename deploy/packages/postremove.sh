#!/bin/sh
set -e

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
# Keys, records, and records that wait in a spool are nowhere else: they stay, whatever is removed.
if [ "$1" = purge ]; then
    rm -f /etc/systemd/system/*.wants/aaa-login.service /etc/systemd/system/*.wants/aaa-signer.service
    for directory in /etc/aaa /var/lib/aaa /var/log/aaa; do
        [ -d "$directory" ] || continue
        find "$directory" -depth -type d -empty -delete
        [ ! -d "$directory" ] || echo "choria-aaa: $directory is kept, for what is in it"
    done
fi
