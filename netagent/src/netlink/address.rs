// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of a link.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};

use super::{Netlink, NetlinkError};

impl Netlink {
    /// The link's addresses that reach beyond it: global ones, no link-local, no temporary ones.
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
    let mut temporary = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(a) => address = Some(*a),
            // On a point-to-point link `Address` is the far end.
            AddressAttribute::Local(a) => local = Some(*a),
            AddressAttribute::Flags(flags) => {
                // IFA_F_SECONDARY and IFA_F_TEMPORARY are one bit; only for IPv6 does it mean temporary.
                temporary = flags.contains(AddressFlags::Secondary);
            }
            _ => {}
        }
    }
    let address: IpAddr = local.or(address)?;
    if !scoped_in || (temporary && address.is_ipv6()) {
        return None;
    }
    IpNet::new(address, message.header.prefix_len).ok()
}
