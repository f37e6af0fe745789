// SPDX-License-Identifier: MIT OR Apache-2.0
//! How VM-to-node packets leave, and which hook the programs sit on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    pod::{HostPeer, PodLink},
    program::Program,
    xdp,
};

/// What the asker wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TierChoice {
    /// The fastest that is safe on this link and kernel.
    #[default]
    Auto,
    /// `peer` or an error.
    Peer,
    /// `plain`.
    Plain,
    /// `xdp` or an error; never chosen by `auto`.
    Xdp,
}

/// What the port uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// `bpf_redirect_peer`: from the tap's ingress straight into the host peer's.
    Peer,
    /// `bpf_redirect`: through the pod link's transmit path.
    Plain,
    /// Native XDP both ways; what needs an skb goes as in `plain`.
    Xdp,
}

/// Where the programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// tcx links (kernel 6.6 and later), pinned.
    Tcx,
    /// cls_bpf filters on a clsact qdisc.
    Clsact,
    /// XDP links, pinned; of the XDP programs alone.
    Xdp,
}

/// What this kernel can do, probed once at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelFeatures {
    /// tcx links can be made.
    pub tcx: bool,
    /// The helper `bpf_redirect_peer` is there (5.10).
    pub redirect_peer: bool,
    /// `bpf_redirect_peer` scrubs the skb, its packet type included.
    pub peer_scrubs: bool,
    /// XDP programs can be loaded.
    pub xdp: bool,
}

impl Tier {
    /// Whether its ports have this program. The tc programs are always there: they judge what XDP passes on, and hold
    /// the guard while the tier changes.
    pub fn has(self, program: Program) -> bool {
        self == Self::Xdp || !program.is_xdp()
    }
}

impl KernelFeatures {
    /// The hook for the tc programs of every port of this agent.
    pub fn hook(self) -> Hook {
        if self.tcx { Hook::Tcx } else { Hook::Clsact }
    }
}

/// The tier asked for cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("tier {tier} is not possible: {obstacle}; use --tier auto or --tier plain")]
pub struct TierError {
    pub(super) tier: Tier,
    pub(super) obstacle: String,
}

/// Chooses the tier for a link, with the reason as people read it.
///
/// # Errors
/// When `peer` or `xdp` was asked for and something stands in its way.
pub fn choose(
    choice: TierChoice,
    link: &PodLink,
    kernel: KernelFeatures,
) -> Result<(Tier, String), TierError> {
    match (choice, obstacle_to_peer(link, kernel)) {
        (TierChoice::Xdp, _) => match xdp::obstacles(link, kernel) {
            None => Ok((Tier::Xdp, "asked for".into())),
            Some(obstacle) => Err(TierError { tier: Tier::Xdp, obstacle }),
        },
        (TierChoice::Plain, _) => Ok((Tier::Plain, "asked for".into())),
        (TierChoice::Peer, None) => Ok((Tier::Peer, "asked for".into())),
        (TierChoice::Peer, Some(obstacle)) => Err(TierError { tier: Tier::Peer, obstacle }),
        (TierChoice::Auto, None) => {
            Ok((Tier::Peer, format!("{} is a veth with its peer in another namespace", link.ifname)))
        }
        (TierChoice::Auto, Some(obstacle)) => Ok((Tier::Plain, obstacle)),
    }
}

fn obstacle_to_peer(link: &PodLink, kernel: KernelFeatures) -> Option<String> {
    if !kernel.redirect_peer {
        Some("the kernel lacks bpf_redirect_peer (5.10)".into())
    } else if link.kind == "netkit" {
        // The CNI's policy runs in the peer's transmit path (drivers/net/netkit.c), which peer would get behind.
        Some(format!("{} is netkit, whose policy programs peer would skip", link.ifname))
    } else if link.kind != "veth" {
        let kind = if link.kind.is_empty() { "a physical device" } else { &link.kind };
        Some(format!("{} is {kind}, not a veth", link.ifname))
    } else if !link.peer_elsewhere {
        Some(format!("the peer of {} is in the same namespace", link.ifname))
    } else if let Some(egress) = &link.egress {
        Some(format!("{} has {egress} on egress, which peer would skip", link.ifname))
    } else {
        obstacle_on_host_peer(link)
    }
}

fn obstacle_on_host_peer(link: &PodLink) -> Option<String> {
    let name = &link.ifname;
    match &link.host_peer {
        HostPeer::Clear => None,
        HostPeer::NativeXdp(id) => {
            Some(format!("the peer of {name} has a native XDP program (id {id}), which peer would skip"))
        }
        // What may be there is not skipped on a guess.
        HostPeer::Unseen(why) => Some(format!(
            "the peer of {name} cannot be checked for an XDP program, which peer would skip: {why}"
        )),
    }
}

macro_rules! named {
    ($t:ident { $($variant:ident = $name:literal),* }) => {
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $name),* })
            }
        }
        impl FromStr for $t {
            type Err = String;
            fn from_str(s: &str) -> Result<Self, String> {
                match s {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(format!("`{s}` is none of {}", [$($name),*].join(", "))),
                }
            }
        }
    };
}
named!(TierChoice { Auto = "auto", Peer = "peer", Plain = "plain", Xdp = "xdp" });
named!(Tier { Peer = "peer", Plain = "plain", Xdp = "xdp" });
named!(Hook { Tcx = "tcx", Clsact = "clsact", Xdp = "xdp" });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::desired::tests::facts;

    const ALL: KernelFeatures =
        KernelFeatures { tcx: true, redirect_peer: true, peer_scrubs: true, xdp: true };

    #[test]
    fn auto_takes_peer_only_where_nothing_stands_in_its_way() {
        let veth = facts().link;
        assert_eq!(choose(TierChoice::Auto, &veth, ALL).unwrap().0, Tier::Peer);

        let near = PodLink { peer_elsewhere: false, ..veth.clone() };
        let macvlan = PodLink { kind: "macvlan".into(), ..veth.clone() };
        let shaped = PodLink { egress: Some("a tbf qdisc".into()), ..veth.clone() };
        let netkit = PodLink { kind: "netkit".into(), ..veth.clone() };
        let express = PodLink { host_peer: HostPeer::NativeXdp(7), ..veth.clone() };
        let hidden = PodLink { host_peer: HostPeer::Unseen("no such id".into()), ..veth.clone() };
        let old = KernelFeatures { redirect_peer: false, ..ALL };
        for (link, kernel, reason) in [
            (&near, ALL, "the peer of eth0 is in the same namespace"),
            (&macvlan, ALL, "eth0 is macvlan, not a veth"),
            (&shaped, ALL, "eth0 has a tbf qdisc on egress, which peer would skip"),
            (&netkit, ALL, "eth0 is netkit, whose policy programs peer would skip"),
            (&express, ALL, "the peer of eth0 has a native XDP program (id 7), which peer would skip"),
            (
                &hidden,
                ALL,
                "the peer of eth0 cannot be checked for an XDP program, which peer would skip: no such id",
            ),
            (&veth, old, "the kernel lacks bpf_redirect_peer (5.10)"),
        ] {
            assert_eq!(choose(TierChoice::Auto, link, kernel).unwrap(), (Tier::Plain, reason.into()));
            let refused = choose(TierChoice::Peer, link, kernel).unwrap_err();
            assert!(refused.to_string().contains(reason), "{refused}");
        }
    }

    #[test]
    fn plain_is_always_possible() {
        let link = PodLink { kind: "ipvlan".into(), ..facts().link };
        assert_eq!(choose(TierChoice::Plain, &link, ALL).unwrap().0, Tier::Plain);
    }
}
