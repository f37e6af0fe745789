#!/bin/dash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Process 1 of a machine for tests of its kernel: loads the modules, then does what the console says, as init.sh does.
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=dumb RUST_BACKTRACE=0

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /tmp /run /root
mount -t devpts pts /dev/pts
# The root is in memory already, and what tests read may lie anywhere in it: nothing is mounted over the rest.
mount -t tmpfs shm /dev/shm
exec </dev/ttyS0 >/dev/ttyS0 2>&1
# Commands come as raw bytes; an echo would come back as output.
stty raw -echo

hostname matrix
while read -r module; do
    insmod "/usr/lib/modules/$module" || echo "@fail insmod $module"
done </usr/lib/modules/order
mkdir -p /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
ip link set lo up
sysctl -qw net.core.bpf_jit_enable=1

echo @ready
while read -r id command; do
    echo "@begin $id"
    sh -c "$command" </dev/null 2>&1
    printf '\n@end %s %s\n' "$id" $?
done
echo "@fail the console ended"
poweroff -f
