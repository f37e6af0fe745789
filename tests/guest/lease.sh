#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Action script of udhcpc (-s), in the guest and in stand-in guests; of dhclient (-sf) in stand-in guests; and exit
# hook of Debian's own dhclient-script in the guest (LEASE_REPORT_ONLY set: that script has configured all already).
#
# Prints the lease as one line `@lease|key=value|…`: to LEASE_OUT, or to the console. Writes DNS to RESOLV_CONF, if
# that is set.

# One name for each value, whichever client it came from.
collect() {
    if [ -n "$reason" ]; then
        client=dhclient event=$reason
        address=$new_ip_address mask=$new_subnet_mask routers=$new_routers dns=$new_domain_name_servers
        domain_=$new_domain_name search_=$new_domain_search hostname_=$new_host_name mtu_=$new_interface_mtu
        lease_=$new_dhcp_lease_time renew=$new_dhcp_renewal_time rebind=$new_dhcp_rebinding_time
        server=$new_dhcp_server_identifier routes=$new_rfc3442_classless_static_routes
    else
        client=udhcpc event=$1
        address=$ip mask=$mask routers=$router
        domain_=$domain search_=$search hostname_=$hostname mtu_=$mtu
        lease_=$lease renew=${opt58:+0x$opt58} rebind=${opt59:+0x$opt59}
        server=$serverid routes=$staticroutes
    fi
}

report() {
    line="@lease|client=$client|event=$event|address=$address|mask=$mask|routers=$routers|dns=$dns|domain=$domain_"
    line="$line|search=$search_|hostname=$hostname_|mtu=$mtu_|lease=$lease_|renew=$renew|rebind=$rebind"
    echo "$line|server=$server|routes=$routes" >>"${LEASE_OUT:-/dev/ttyS0}"
}

# 192.0.2.0/24 from "24 192 0 2": sets `to` and how many words it took.
destination() {
    octets=$((($1 + 7) / 8)) to= taken=$((octets + 1))
    for i in 1 2 3 4; do
        if [ $i -le $octets ]; then
            shift
            to="$to${to:+.}$1"
        else
            to="$to${to:+.}0"
        fi
    done
}

route() { # destination/prefix router
    if [ "$2" = 0.0.0.0 ]; then
        ip -4 route replace "$1" dev "$interface"
    else
        ip -4 route replace "$1" via "$2" dev "$interface"
    fi
}

configure() {
    [ -z "$mtu_" ] || ip link set "$interface" mtu "$mtu_"
    ip -4 address replace "$address/$mask" dev "$interface"
    if [ -z "$routes" ]; then
        for router_ in $routers; do
            ip -4 route replace default via "$router_" dev "$interface"
            break
        done
    elif [ "$client" = udhcpc ]; then
        set -- $routes
        while [ $# -ge 2 ]; do
            route "$1" "$2"
            shift 2
        done
    else
        set -- $routes
        while [ $# -ge 5 ]; do
            prefix=$1
            destination "$@"
            shift $taken
            route "$to/$prefix" "$1.$2.$3.$4"
            shift 4
        done
    fi
    if [ -n "$RESOLV_CONF" ]; then
        {
            [ -z "$search_$domain_" ] || echo "search ${search_:-$domain_}"
            for server_ in $dns; do
                echo "nameserver $server_"
            done
        } >"$RESOLV_CONF"
    fi
}

collect "$1"
case $event in
bound | renew | BOUND | RENEW | REBIND | REBOOT)
    [ -n "$LEASE_REPORT_ONLY" ] || configure
    report
    ;;
PREINIT)
    [ -n "$LEASE_REPORT_ONLY" ] || ip link set "$interface" up
    ;;
deconfig)
    ip link set "$interface" up
    ip -4 address flush dev "$interface"
    ;;
EXPIRE | FAIL | RELEASE | STOP)
    [ -n "$LEASE_REPORT_ONLY" ] || ip -4 address flush dev "$interface"
    ;;
esac
