#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs a program of a stand-in guest with folders of its own: private.sh FOLDER PROGRAM ARGUMENTS...
# It is started inside the guest's network namespace with a mount and a UTS namespace of its own.
set -e
for kind in net mnt uts; do
    # What follows mounts, names the host and configures links: never the machine's own.
    if [ "$(readlink /proc/self/ns/$kind)" = "$(readlink "/proc/$OUTSIDE/ns/$kind")" ]; then
        echo "private.sh: this is the $kind namespace of the tests" >&2
        exit 1
    fi
done
folder=$1
shift
mount --make-rprivate /
# Read-only: systemd-networkd then takes links as they are, without udev (systemd, CONTAINER_INTERFACE).
mount -t sysfs -o ro sys /sys
mount --bind "$folder/etc" /etc
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/run" /run
hostname localhost
exec "$@"
