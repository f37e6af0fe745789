// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which addresses are the port's.

use crate::{
    address::{V4, V6},
    maps::{IPV4_PREFIXES, IPV6_PREFIXES, Port},
};

/// Whether the address is the port's or in one of its prefixes.
#[inline(always)]
pub(super) fn v4(address: V4, port: &Port) -> bool {
    // 0.0.0.0 equals the unused places.
    address != V4::UNSPECIFIED
        && (port.ipv4.contains(&address)
            || port.flags & IPV4_PREFIXES != 0 && port.ipv4_prefixes.iter().any(|p| p.holds(address)))
}

/// Whether the address is the port's, the guest's link-local one or in one of the port's prefixes.
#[inline(always)]
pub(super) fn v6(address: V6, port: &Port, learned: &impl Fn() -> V6) -> bool {
    if address.is_link_local() {
        address.is(port.link_local) || address.is(learned()) || in_ipv6_prefix(address, port)
    } else {
        // `::` equals the unused places.
        !address.is_unspecified()
            && (port.ipv6.iter().any(|own| own.is(address)) || in_ipv6_prefix(address, port))
    }
}

#[inline(always)]
fn in_ipv6_prefix(address: V6, port: &Port) -> bool {
    port.flags & IPV6_PREFIXES != 0 && port.ipv6_prefixes.iter().any(|p| p.holds(address))
}
