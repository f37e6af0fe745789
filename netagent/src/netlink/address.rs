// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of a link.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};

use super::{Netlink, NetlinkError};

impl Netlink {
    /// The link's addresses that reach beyond it: global ones, no link-local, no temporary ones, none that another host has. One
    /// with a peer stands alone, with its full length for a prefix.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn global_addresses(&self, ifindex: u32) -> Result<Vec<IpNet>, NetlinkError> {
        let request = self.handle.address().get().set_link_index_filter(ifindex).execute();
        let messages: Vec<AddressMessage> =
            self.ask("list addresses of link", &ifindex, request.try_collect()).await?;
        Ok(messages.iter().filter_map(global).collect())
    }
}

fn global(message: &AddressMessage) -> Option<IpNet> {
    // The scope of an IPv4 address is what its maker says: 169.254/16 may well be the pod's address (Calico hands out
    // gateways there). IPv6 link-local is each end's own.
    let scoped_in = matches!(message.header.scope, AddressScope::Universe | AddressScope::Site);
    let mut address = None;
    let mut local = None;
    let mut flags = AddressFlags::empty();
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(a) => address = Some(*a),
            AddressAttribute::Local(a) => local = Some(*a),
            AddressAttribute::Flags(f) => flags = *f,
            _ => {}
        }
    }
    let own: IpAddr = local.or(address)?;
    // IFA_F_SECONDARY and IFA_F_TEMPORARY are one bit; only for IPv6 does it mean temporary.
    let temporary = own.is_ipv6() && flags.contains(AddressFlags::Secondary);
    // Somebody else on the link has it: the pod does not use it, and the guest must not.
    let taken = flags.contains(AddressFlags::Dadfailed);
    if !scoped_in || temporary || taken {
        return None;
    }
    // With a peer `IFA_ADDRESS` is the far end, and the prefix is that one's.
    if address.is_some_and(|far| far != own) {
        return Some(own.into());
    }
    IpNet::new(own, message.header.prefix_len).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn message(prefix_len: u8, attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.prefix_len = prefix_len;
        message.header.scope = AddressScope::Universe;
        message.attributes = attributes;
        message
    }

    fn found(message: &AddressMessage) -> Option<String> {
        global(message).map(|a| a.to_string())
    }

    #[test]
    fn an_address_has_its_prefix_and_one_with_a_peer_has_none() {
        let plain = vec![AddressAttribute::Address(ip("10.0.0.2")), AddressAttribute::Local(ip("10.0.0.2"))];
        assert_eq!(found(&message(24, plain)).as_deref(), Some("10.0.0.2/24"));
        let peer = vec![AddressAttribute::Address(ip("10.9.0.0")), AddressAttribute::Local(ip("10.0.0.2"))];
        assert_eq!(found(&message(16, peer)).as_deref(), Some("10.0.0.2/32"));
        let v6 = vec![AddressAttribute::Address(ip("fd00::2"))];
        assert_eq!(found(&message(64, v6)).as_deref(), Some("fd00::2/64"));
        let v6_peer = vec![AddressAttribute::Address(ip("fd00::1")), AddressAttribute::Local(ip("fd00::2"))];
        assert_eq!(found(&message(64, v6_peer)).as_deref(), Some("fd00::2/128"));
        assert_eq!(found(&message(24, Vec::new())), None);
    }

    #[test]
    fn addresses_that_are_not_to_last_or_not_the_pod_s_are_left_out() {
        let with = |address: &str, flags| {
            found(&message(64, vec![AddressAttribute::Address(ip(address)), AddressAttribute::Flags(flags)]))
        };
        assert_eq!(with("fd00::2", AddressFlags::Secondary), None);
        assert_eq!(with("fd00::2", AddressFlags::Dadfailed | AddressFlags::Permanent), None);
        for flags in [AddressFlags::Deprecated, AddressFlags::Tentative, AddressFlags::Permanent] {
            assert_eq!(with("fd00::2", flags).as_deref(), Some("fd00::2/64"), "{flags:?}");
        }
        let second = message(
            24,
            vec![
                AddressAttribute::Address(ip("10.0.0.3")),
                AddressAttribute::Local(ip("10.0.0.3")),
                AddressAttribute::Flags(AddressFlags::Secondary),
            ],
        );
        assert_eq!(found(&second).as_deref(), Some("10.0.0.3/24"));
        let mut link_local = message(64, vec![AddressAttribute::Address(ip("fe80::2"))]);
        link_local.header.scope = AddressScope::Link;
        assert_eq!(found(&link_local), None);
    }
}
