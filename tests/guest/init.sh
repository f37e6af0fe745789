#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Process 1 of the test guest: loads the network driver, asks for a lease, then does what the console says.
#
# Lines it prints for the harness: `@lease|…` (lease.sh), `@fail WORDS`, `@ready`, and around the output of the
# command `ID COMMAND` read from the console: `@begin ID`, `@end ID CODE`.
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=linux RESOLV_CONF=/etc/resolv.conf

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /tmp /run /root /var/lib/dhcp
mount -t devpts pts /dev/pts
exec </dev/ttyS0 >/dev/ttyS0 2>&1
# Commands come as raw bytes; an echo would come back as output.
stty raw -echo

hostname guest
client=none
for word in $(cat /proc/cmdline); do
    case $word in
    netagent.dhcp=*) client=${word#*=} ;;
    esac
done

while read -r module; do
    insmod "/usr/lib/modules/$module" || echo "@fail insmod $module"
done </usr/lib/modules/order

ip link set lo up
tries=500
until [ -e /sys/class/net/eth0 ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "@fail no network card"; break; }
    usleep 10000
done
ip link set eth0 up

case $client in
udhcpc)
    # -t 20 -T 1: a server that comes up after the guest is found within a second.
    udhcpc -f -i eth0 -t 20 -T 1 -s /usr/share/netagent/lease.sh \
        -O search -O mtu -O staticroutes -O 58 -O 59 >/run/udhcpc.log 2>&1 &
    ;;
dhclient)
    dhclient -d eth0 >/run/dhclient.log 2>&1 &
    ;;
esac

iperf3 -s >/run/iperf3.log 2>&1 &
iperf3 -s -p 5202 >/run/iperf3-2.log 2>&1 &
# Echoes UDP datagrams, one for one: `cat` reads and writes the connected socket itself.
socat UDP4-LISTEN:7,fork,reuseaddr,rcvbuf=1000000 EXEC:/usr/bin/cat,nofork >/run/echo.log 2>&1 &

echo @ready
while read -r id command; do
    case $command in
    @shell)
        # A person takes over. When the shell ends, the console takes commands again.
        stty sane
        printf '\r\n  This is the guest. eth0 was configured by %s; its log is in /run. Ctrl-D starts a new shell.\r\n\r\n' "$client"
        setsid cttyhack sh -c 'ENV=/usr/share/netagent/shrc exec busybox ash -i'
        stty raw -echo
        ;;
    *)
        echo "@begin $id"
        sh -c "$command" </dev/null 2>&1
        printf '\n@end %s %s\n' "$id" $?
        ;;
    esac
done
echo "@fail the console ended"
poweroff -f
