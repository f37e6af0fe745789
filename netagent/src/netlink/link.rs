// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links: their state, and the few changes made to our tap.

use futures_util::TryStreamExt as _;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec,
    packet_core::Nla as _,
    packet_route::link::{InfoData, InfoTun, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp},
};

use super::{Netlink, NetlinkError};
use crate::core::ids::{IfName, MacAddr};

/// A link as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Its index.
    pub ifindex: u32,
    /// Its address, `None` unless it has 6 bytes.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// `IFLA_INFO_KIND`; empty for a device without one.
    pub kind: String,
    /// `IFF_UP`.
    pub up: bool,
    /// `IFLA_MASTER`: index of the bridge, or whatever else, that it is a port of.
    pub master: Option<u32>,
    /// `IFLA_IFALIAS`.
    pub alias: Option<String>,
    /// Name of the root qdisc.
    pub qdisc: String,
    /// `IFLA_LINK_NETNSID` is there: the device it is tied to lives in another namespace.
    pub peer_elsewhere: bool,
    /// `IFLA_LINK` and `IFLA_LINK_NETNSID`: the device it is tied to, where that lives in another namespace.
    pub peer: Option<PeerLink>,
    /// Id of the XDP program on it.
    pub xdp: Option<u32>,
    /// For a tun or tap.
    pub tun: Option<TunState>,
}

/// A device in another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// Its index there.
    pub ifindex: u32,
    /// Number of that namespace in this one.
    pub netnsid: i32,
}

/// `IFLA_TUN_*` of include/uapi/linux/if_link.h.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunState {
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// It carries Ethernet frames: a tap.
    pub tap: bool,
    /// `IFF_VNET_HDR`.
    pub vnet_hdr: bool,
    /// `IFF_MULTI_QUEUE`.
    pub multi_queue: bool,
    /// Queues that somebody has open; told of multi-queue devices only, 0 for others.
    pub open_queues: u32,
}

impl Netlink {
    /// The link of that name, `None` when there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn link(&self, name: &IfName) -> Result<Option<LinkState>, NetlinkError> {
        let request = self.handle.link().get().match_name(name.to_string()).execute();
        let answer = self.ask("look up link", name, async { std::pin::pin!(request).try_next().await });
        match answer.await {
            Ok(message) => Ok(message.as_ref().map(state)),
            Err(e) if e.is_gone() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The link with that index and its name, `None` when there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn link_by_index(&self, ifindex: u32) -> Result<Option<(IfName, LinkState)>, NetlinkError> {
        let request = self.handle.link().get().match_index(ifindex).execute();
        let answer = self.ask("look up link", &ifindex, async { std::pin::pin!(request).try_next().await });
        match answer.await {
            Ok(message) => Ok(message.as_ref().and_then(|message| Some((name(message)?, state(message))))),
            Err(e) if e.is_gone() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// All links with their names; one that has no name that we could use is left out.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn links(&self) -> Result<Vec<(IfName, LinkState)>, NetlinkError> {
        let request = self.handle.link().get().execute();
        let messages: Vec<LinkMessage> = self.ask("list", &"links", request.try_collect()).await?;
        Ok(messages.iter().filter_map(|message| Some((name(message)?, state(message)))).collect())
    }

    /// Sets the link up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_up(&self, ifindex: u32) -> Result<(), NetlinkError> {
        self.change("set up link", ifindex, LinkUnspec::new_with_index(ifindex).up()).await
    }

    /// Sets the MTU.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_mtu(&self, ifindex: u32, mtu: u32) -> Result<(), NetlinkError> {
        self.change("set the mtu of link", ifindex, LinkUnspec::new_with_index(ifindex).mtu(mtu)).await
    }

    /// Sets the alias that `ip link` shows.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_alias(&self, ifindex: u32, alias: &str) -> Result<(), NetlinkError> {
        self.change("set the alias of link", ifindex, LinkUnspec::new_with_index(ifindex).alias(alias)).await
    }

    /// Deletes the link.
    ///
    /// # Errors
    /// When the kernel refuses; see [`NetlinkError::is_gone`].
    pub async fn delete_link(&self, ifindex: u32) -> Result<(), NetlinkError> {
        let request = self.handle.link().del(ifindex).execute();
        self.ask("delete link", &ifindex, request).await
    }

    async fn change(
        &self,
        operation: &'static str,
        ifindex: u32,
        change: LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), NetlinkError> {
        self.ask(operation, &ifindex, self.handle.link().set(change.build()).execute()).await
    }
}

fn name(message: &LinkMessage) -> Option<IfName> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => name.parse().ok(),
        _ => None,
    })
}

fn state(message: &LinkMessage) -> LinkState {
    let mut tied_to = None;
    let mut netnsid = None;
    let mut state = LinkState {
        ifindex: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..LinkState::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => state.mac = bytes.as_slice().try_into().ok().map(MacAddr),
            LinkAttribute::Mtu(mtu) => state.mtu = *mtu,
            LinkAttribute::IfAlias(alias) => state.alias = Some(alias.clone()),
            LinkAttribute::Qdisc(qdisc) => state.qdisc.clone_from(qdisc),
            LinkAttribute::LinkNetNsId(id) => netnsid = Some(*id),
            LinkAttribute::Controller(index) => state.master = Some(*index),
            LinkAttribute::Link(index) => tied_to = Some(*index),
            LinkAttribute::Xdp(parts) => {
                state.xdp = parts.iter().find_map(|part| match part {
                    LinkXdp::ProgId(id) => Some(*id),
                    _ => None,
                });
            }
            LinkAttribute::LinkInfo(parts) => {
                for part in parts {
                    match part {
                        LinkInfo::Kind(kind) => state.kind = kind.to_string(),
                        LinkInfo::Data(InfoData::Tun(attributes)) => state.tun = Some(tun(attributes)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    state.peer_elsewhere = netnsid.is_some();
    state.peer = tied_to.zip(netnsid).map(|(ifindex, netnsid)| PeerLink { ifindex, netnsid });
    state
}

fn tun(attributes: &[InfoTun]) -> TunState {
    const OWNER: u16 = 1;
    const GROUP: u16 = 2;
    const TYPE: u16 = 3;
    const VNET_HDR: u16 = 5;
    const MULTI_QUEUE: u16 = 7;
    const NUM_QUEUES: u16 = 8;
    /// `IFF_TAP`, which is also the value of `IFLA_TUN_TYPE`.
    const TAP: u8 = 2;

    let mut state = TunState::default();
    for attribute in attributes {
        let mut value = [0u8; 4];
        let Some(value) = value.get_mut(..attribute.value_len()) else { continue };
        attribute.emit_value(value);
        let number = value.try_into().map(u32::from_ne_bytes).ok();
        let flag = value.first().copied();
        match attribute.kind() {
            OWNER => state.uid = number,
            GROUP => state.gid = number,
            TYPE => state.tap = flag == Some(TAP),
            VNET_HDR => state.vnet_hdr = flag == Some(1),
            MULTI_QUEUE => state.multi_queue = flag == Some(1),
            NUM_QUEUES => state.open_queues = number.unwrap_or(0),
            _ => {}
        }
    }
    state
}
