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
    address != V4::UNSPECIFIED && (address == port.ipv4[0] || is_another_v4(address, port))
}

/// Whether the address is the port's, the guest's link-local one or in one of the port's prefixes.
#[inline(always)]
pub(super) fn v6(address: V6, port: &Port, learned: &impl Fn() -> V6) -> bool {
    // `::` equals the unused places.
    address.is(port.ipv6[0]) && !address.is_unspecified()
        || address.is(port.link_local)
        || address.is_link_local() && address.is(learned())
        || !address.is_unspecified() && is_another_v6(address.network, address.interface, port)
}

// One copy of each, called: most packets have the first address, and all places unrolled wherever an address is judged
// would make the programs many times longer.

#[inline(never)]
fn is_another_v4(address: V4, port: &Port) -> bool {
    port.ipv4.contains(&address)
        || port.flags & IPV4_PREFIXES != 0 && port.ipv4_prefixes.iter().any(|p| p.holds(address))
}

#[inline(never)]
fn is_another_v6(network: u64, interface: u64, port: &Port) -> bool {
    let address = V6 { network, interface };
    port.ipv6.iter().any(|own| own.is(address))
        || port.flags & IPV6_PREFIXES != 0 && port.ipv6_prefixes.iter().any(|p| p.holds(address))
}
