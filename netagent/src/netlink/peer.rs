// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look at the other end of a veth, in whatever namespace it is, without entering that.

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};

use super::{Netlink, NetlinkError, PeerLink};
use crate::core::pod::HostPeer;

impl Netlink {
    /// What is on the peer, asked by its namespace's number (`IFLA_TARGET_NETNSID`, kernel 4.15).
    ///
    /// # Errors
    /// When the kernel refuses, as it does without CAP_NET_ADMIN over the peer's namespace.
    pub async fn host_peer(&self, peer: PeerLink) -> Result<HostPeer, NetlinkError> {
        let mut request = self.handle.link().get().match_index(peer.ifindex);
        request.message_mut().attributes.push(LinkAttribute::IfNetnsId(peer.netnsid));
        let answer = async { std::pin::pin!(request.execute()).try_next().await };
        let message = self.ask("look up the peer with index", &peer.ifindex, answer).await?;
        Ok(message.as_ref().map_or_else(|| HostPeer::Unseen("no answer".into()), host_peer))
    }
}

fn host_peer(message: &LinkMessage) -> HostPeer {
    // A kernel that passes over the namespace's number would answer for a device of this one.
    if !message.attributes.iter().any(|a| matches!(a, LinkAttribute::IfNetnsId(_))) {
        return HostPeer::Unseen("the kernel does not look into other namespaces (4.15)".into());
    }
    let xdp = message.attributes.iter().filter_map(|a| match a {
        LinkAttribute::Xdp(parts) => Some(parts),
        _ => None,
    });
    let (mut native, mut id) = (false, 0);
    for part in xdp.flatten() {
        match part {
            // Generic XDP alone runs again on what bpf_redirect_peer brings (__netif_receive_skb_core, net/core/dev.c).
            LinkXdp::Attached(XdpAttached::Driver | XdpAttached::Hardware | XdpAttached::Multiple) => {
                native = true;
            }
            LinkXdp::ProgId(program) | LinkXdp::DrvProgId(program) | LinkXdp::HwProgId(program) => {
                id = *program
            }
            _ => {}
        }
    }
    if native { HostPeer::NativeXdp(id) } else { HostPeer::Clear }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(xdp: Vec<LinkXdp>) -> HostPeer {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfNetnsId(0), LinkAttribute::Xdp(xdp)];
        host_peer(&message)
    }

    #[test]
    fn native_xdp_is_seen_and_generic_is_none_of_it() {
        assert_eq!(seen(vec![]), HostPeer::Clear);
        assert_eq!(seen(vec![LinkXdp::Attached(XdpAttached::None)]), HostPeer::Clear);
        let on = |mode| seen(vec![LinkXdp::Attached(mode), LinkXdp::ProgId(7)]);
        assert_eq!(on(XdpAttached::SocketBuffer), HostPeer::Clear);
        for native in [XdpAttached::Driver, XdpAttached::Hardware, XdpAttached::Multiple] {
            assert_eq!(on(native), HostPeer::NativeXdp(7));
        }
    }

    #[test]
    fn an_answer_about_a_device_of_this_namespace_tells_nothing() {
        assert!(matches!(host_peer(&LinkMessage::default()), HostPeer::Unseen(_)));
    }
}
