// SPDX-License-Identifier: MIT OR Apache-2.0
//! All of an ask but the namespace: what can be said of a port before its pod is there.

use std::path::PathBuf;

use super::{
    guard::GuardSpec,
    hand_off::HandOff,
    ids::{IfName, MacAddr, NetnsId},
    mode::Mode,
    origin::Origin,
    spec::{PortSpec, TapSpec},
    tier::TierChoice,
};

/// `MAX_TAP_QUEUES` of drivers/net/tun.c.
pub const MAX_QUEUES: u16 = 256;

/// What somebody wants of a port, whichever pod it will be in. Its fields are those of [`PortSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortAsk {
    /// The interface that the CNI puts into the namespace.
    pub pod_link: IfName,
    /// How the guest meets the pod's network.
    pub mode: Mode,
    /// The tap to make.
    pub tap: TapSpec,
    /// The guest's MAC; the pod link's when not given.
    pub mac: Option<MacAddr>,
    /// How packets leave towards the node.
    pub tier: TierChoice,
    /// Exceptions from the guard.
    pub guard: GuardSpec,
    /// What the guest is told in place of, or besides, what the pod says.
    pub hand_off: HandOff,
    /// A resolv.conf(5) for the guest; found by the pod's path when not given.
    pub resolv_conf: Option<PathBuf>,
    /// The guest's host name; found by the pod's path when not given.
    pub hostname: Option<String>,
}

impl PortAsk {
    /// A port on `pod_link` with a tap of one queue that everybody in the pod may open, and nothing else asked for.
    pub fn plain(pod_link: IfName, tap: IfName) -> Self {
        Self {
            pod_link,
            mode: Mode::default(),
            tap: TapSpec { name: tap, queues: 1, uid: None, gid: None },
            mac: None,
            tier: TierChoice::default(),
            guard: GuardSpec::default(),
            hand_off: HandOff::default(),
            resolv_conf: None,
            hostname: None,
        }
    }

    /// The ask in the namespace `netns`, which is found at `path`.
    pub fn into_spec(self, path: PathBuf, netns: NetnsId, origin: Origin) -> PortSpec {
        let Self { pod_link, mode, tap, mac, tier, guard, hand_off, resolv_conf, hostname } = self;
        PortSpec {
            netns: path,
            netns_id: netns,
            // Read when the port is wired: it takes a look from inside.
            netns_cookie: None,
            pod_link,
            mode,
            tap,
            mac,
            tier,
            guard,
            hand_off,
            resolv_conf,
            hostname,
            origin,
            wanted: true,
        }
    }
}
