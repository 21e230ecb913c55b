#!/usr/bin/env bash
# Boots this machine's system once more, beside it: with processes, network and control groups of its own, and changes to files that are
# gone afterwards. The directory given is /run/host there; systemd says in its socket `notify` when it has started.
set -euo pipefail
host=${1:?a directory that both see}

mount --make-rprivate /
mount --types tmpfs tmpfs /mnt
mkdir /mnt/{upper,work,root}
mount --types overlay overlay --options lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
for directory in dev run tmp; do
    mount --types tmpfs tmpfs $directory
done
for device in full null random tty urandom zero; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts run/host
mount --types devpts --options newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind "$host" run/host
mount --types proc proc proc
# The kernel is this machine's.
mount --bind proc/sys proc/sys
mount --options remount,bind,ro proc/sys
mount --types sysfs --options ro sysfs sys
mount --types tmpfs tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd
mount --types cgroup --options none,name=systemd,xattr cgroup sys/fs/cgroup/systemd
pivot_root . mnt
umount --lazy /mnt
# An image of a machine may forbid that packages start what they bring. Manual pages need no index here.
rm -f /usr/sbin/policy-rc.d /var/lib/man-db/auto-update
exec env -i container=other NOTIFY_SOCKET=/run/host/notify PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=basic.target --show-status=0
