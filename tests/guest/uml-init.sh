#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Process 1 of a user-mode Linux guest: asks for a lease by udhcpc, pings the node, then serves iperf3 and answers.
#
# Lines for the harness, on the console: `@lease|…` (lease.sh), `@ping TARGET PASSED|FAILED`, `@fail WORDS`, `@ready`.
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=dumb RESOLV_CONF=/etc/resolv.conf LEASE_OUT=/dev/console

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /run /root
exec </dev/null >/dev/console 2>&1

targets=
for word in $(cat /proc/cmdline); do
    case $word in
    netagent.ping=*) targets=$(echo "${word#*=}" | tr , ' ') ;;
    esac
done

ip link set lo up
ip link set vec0 name eth0 || echo "@fail no network card"
ip link set eth0 up
iperf3 -s >/run/iperf3.log 2>&1 &
udhcpc -f -q -i eth0 -t 60 -T 1 -s /usr/share/netagent/lease.sh \
    -O search -O mtu -O staticroutes -O 58 -O 59 >/run/udhcpc.log 2>&1 ||
    echo "@fail udhcpc: $(cat /run/udhcpc.log)"
for target in $targets; do
    if ping -c 3 -W 5 "$target" >/run/ping.log 2>&1; then
        echo "@ping $target PASSED"
    else
        echo "@ping $target FAILED $(tail -n 2 /run/ping.log)"
    fi
done
echo @ready
while :; do
    sleep 1000
done
