// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is compared: each variant knows its name, its directions and how its pod is wired.

mod bare;
mod bridge;
mod ceiling;
mod macvtap;
mod mirred;
mod netagent;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use netagent_tests::agent::Agent;

use self::netagent::Ask;
use super::{
    bpf::{attach::Attacher, insn::RedirectCall},
    scene::{Qdisc, Scene, Wired},
};

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Written to the tap, counted at the host peer's ingress.
    FromVm,
    /// Sent on the host peer, counted where the tap's ring is read.
    ToVm,
}

/// A way from tap to pod link and back. One more variant is one more line here and in each `match` below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Variant {
    /// The tap in the node, with the gateway's address on it: no pod on the way.
    IpOnTap,
    /// The tap in a router that a veth pair joins to the node.
    IpOnTapVeth,
    /// A container in the guest's place: the pod link, and no tap.
    Container,
    /// Dropped at the first hook: what sending and counting cost without any path.
    Floor,
    /// `bpf_redirect_peer` and nothing else.
    RedirectPeer,
    /// `bpf_redirect` and nothing else, into a tap with its default qdisc.
    Redirect,
    /// `bpf_redirect` and nothing else, into a tap without a queue.
    RedirectNoqueue,
    /// u32 filters with a mirred action, as Kata's tcfilter and tc-redirect-tap set them.
    Mirred,
    /// A macvtap on the pod link, as in Kata's model of that name.
    Macvtap,
    /// A Linux bridge as KubeVirt sets it, br_netfilter off: the bridge at its best.
    Bridge,
    /// The same with br_netfilter on, as Kubernetes nodes have it.
    BridgeNetfilter,
    /// A port of the agent in tier `peer`, guard on.
    NetagentPeer,
    /// The same with every rule of the guard off: what the guard costs.
    NetagentOpen,
    /// A port of the agent in tier `plain`, guard on.
    NetagentPlain,
    /// The same, guard off.
    NetagentPlainOpen,
    /// A port of the agent in tier `xdp`, guard on; the host peer has no offloads then.
    NetagentXdp,
    /// The same, guard off.
    NetagentXdpOpen,
    /// As [`NetagentPeer`](Self::NetagentPeer), of another build of the agent.
    NetagentOther,
}

/// What variants are built with.
#[derive(Debug)]
pub(super) struct Workshop {
    /// Puts programs on links.
    pub(super) attacher: Attacher,
    /// The agent whose ports are measured.
    pub(super) agent: Agent,
    /// Another build, to be measured beside it.
    pub(super) other: Option<Agent>,
}

impl Direction {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::FromVm, Self::ToVm];

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::FromVm => "VM -> node",
            Self::ToVm => "node -> VM",
        }
    }

    /// From where to where it is measured.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::FromVm => "written to the tap, counted and dropped at the host peer's ingress",
            Self::ToVm => "sent on the host peer, read from the tap's ring on another CPU",
        }
    }
}

impl Variant {
    /// In the order of the table.
    pub(super) const ALL: [Self; 18] = [
        Self::IpOnTap,
        Self::IpOnTapVeth,
        Self::Container,
        Self::Floor,
        Self::RedirectPeer,
        Self::Redirect,
        Self::RedirectNoqueue,
        Self::Mirred,
        Self::Macvtap,
        Self::Bridge,
        Self::BridgeNetfilter,
        Self::NetagentPeer,
        Self::NetagentOpen,
        Self::NetagentPlain,
        Self::NetagentPlainOpen,
        Self::NetagentXdp,
        Self::NetagentXdpOpen,
        Self::NetagentOther,
    ];

    /// In which directions it differs from the others.
    pub(super) fn directions(self) -> &'static [Direction] {
        match self {
            Self::Floor
            | Self::Redirect
            | Self::Mirred
            | Self::Macvtap
            | Self::Bridge
            | Self::BridgeNetfilter => &Direction::ALL,
            // Their ends are not those of the others: streams and requests have them.
            Self::IpOnTap | Self::IpOnTapVeth | Self::Container => &[],
            // A tap has no peer.
            Self::RedirectPeer => &[Direction::FromVm],
            Self::RedirectNoqueue => &[Direction::ToVm],
            Self::NetagentPeer
            | Self::NetagentOpen
            | Self::NetagentXdp
            | Self::NetagentXdpOpen
            | Self::NetagentOther => &Direction::ALL,
            // The tier is how frames leave; the way in is the same.
            Self::NetagentPlain | Self::NetagentPlainOpen => &[Direction::FromVm],
        }
    }

    /// On the command line, and in every series.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// For people.
    pub(super) fn title(self, direction: Direction) -> &'static str {
        match (self, direction) {
            (Self::IpOnTap, _) => "IP on the tap",
            (Self::IpOnTapVeth, _) => "IP on the tap, one veth hop",
            (Self::Container, _) => "container on the veth",
            (Self::Floor, Direction::FromVm) => "floor: dropped at the tap's ingress",
            (Self::Floor, Direction::ToVm) => "floor: dropped at the pod link's ingress",
            (Self::RedirectPeer, _) => "bpf_redirect_peer alone",
            (Self::Redirect, Direction::FromVm) => "bpf_redirect alone",
            (Self::Redirect, Direction::ToVm) => "bpf_redirect alone, default qdisc",
            (Self::RedirectNoqueue, _) => "bpf_redirect alone, noqueue",
            (Self::Macvtap, _) => "macvtap",
            (Self::Mirred, _) => "tc mirred, u32",
            (Self::Bridge, _) => "Linux bridge",
            (Self::BridgeNetfilter, _) => "Linux bridge, br_netfilter",
            (Self::NetagentPeer, Direction::FromVm) => "netagent, tier peer",
            (Self::NetagentPeer, Direction::ToVm) => "netagent",
            (Self::NetagentOpen, Direction::FromVm) => "netagent, tier peer, guard off",
            (Self::NetagentOpen, Direction::ToVm) => "netagent, guard off",
            (Self::NetagentPlain, _) => "netagent, tier plain",
            (Self::NetagentPlainOpen, _) => "netagent, tier plain, guard off",
            (Self::NetagentXdp, _) => "netagent, tier xdp",
            (Self::NetagentXdpOpen, _) => "netagent, tier xdp, guard off",
            (Self::NetagentOther, Direction::FromVm) => "the other netagent, tier peer",
            (Self::NetagentOther, Direction::ToVm) => "the other netagent",
        }
    }

    /// Whether it is a port of the agent.
    pub(super) fn is_netagent(self) -> bool {
        self.name().starts_with("netagent")
    }

    /// Whether a frame with another source address than the guest's must not arrive.
    pub(super) fn guards(self) -> bool {
        match self {
            Self::NetagentPeer | Self::NetagentPlain | Self::NetagentXdp => true,
            Self::IpOnTap
            | Self::IpOnTapVeth
            | Self::Container
            | Self::Floor
            | Self::RedirectPeer
            | Self::Redirect
            | Self::RedirectNoqueue
            | Self::Mirred
            | Self::Macvtap
            | Self::Bridge
            | Self::BridgeNetfilter
            | Self::NetagentOpen
            | Self::NetagentPlainOpen
            | Self::NetagentXdpOpen
            | Self::NetagentOther => false,
        }
    }

    /// Wires a pod in this way, and puts the bench at both ends of its path.
    pub(super) fn build(self, workshop: &Workshop) -> Result<Scene> {
        let wired = self.wire(workshop)?;
        let build = if self == Self::Floor { Scene::floor } else { Scene::of };
        build(&workshop.attacher, wired)
    }

    /// Wires a pod in this way.
    pub(super) fn wire(self, workshop: &Workshop) -> Result<Wired> {
        let attacher = &workshop.attacher;
        let netagent = |agent: &Agent, ask: &Ask| netagent::build(attacher, agent, ask);
        match self {
            Self::IpOnTap => ceiling::ip_on_tap(),
            Self::IpOnTapVeth => ceiling::ip_on_tap_veth(),
            Self::Container => ceiling::container(),
            Self::Floor => bare::floor(),
            Self::RedirectPeer => bare::redirect(attacher, RedirectCall::RedirectPeer, Qdisc::Default),
            Self::Redirect => bare::redirect(attacher, RedirectCall::Redirect, Qdisc::Default),
            Self::RedirectNoqueue => bare::redirect(attacher, RedirectCall::Redirect, Qdisc::Noqueue),
            Self::Mirred => mirred::build(),
            Self::Macvtap => macvtap::build(),
            Self::Bridge => bridge::build(bridge::Netfilter::Off),
            Self::BridgeNetfilter => bridge::build(bridge::Netfilter::On),
            Self::NetagentPeer => netagent(&workshop.agent, &Ask { tier: "peer", guard: true }),
            Self::NetagentOpen => netagent(&workshop.agent, &Ask { tier: "peer", guard: false }),
            Self::NetagentPlain => netagent(&workshop.agent, &Ask { tier: "plain", guard: true }),
            Self::NetagentPlainOpen => netagent(&workshop.agent, &Ask { tier: "plain", guard: false }),
            Self::NetagentXdp => netagent(&workshop.agent, &Ask { tier: "xdp", guard: true }),
            Self::NetagentXdpOpen => netagent(&workshop.agent, &Ask { tier: "xdp", guard: false }),
            Self::NetagentOther => {
                let other = workshop.other.as_ref().context("there is no other build: --against NETAGENT")?;
                netagent(other, &Ask { tier: "peer", guard: true })
            }
        }
    }
}
