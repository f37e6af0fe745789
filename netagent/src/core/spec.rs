// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ask: what somebody wants wired, before anything is known about the pod.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    guard::GuardSpec,
    hand_off::HandOff,
    ids::{IfName, MacAddr, NetnsId, PortId},
    mode::Mode,
    origin::Origin,
    tier::TierChoice,
};

/// A request for one port. Kept as JSON in the state directory for as long as the port is wanted, so that an agent
/// that starts again knows it; it says nothing about how far the wiring got.
///
/// A field that this version does not know is passed over: what another version keeps here must not cost a VM its
/// network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Where the pod's network namespace is found, an absolute path to an nsfs file.
    pub netns: PathBuf,
    /// Which namespace that was when the port was asked for; another one at the same path is another pod's.
    pub netns_id: NetnsId,
    /// The namespace's cookie, which is never used again as an inode is; `None` where the kernel has none (before
    /// 5.14).
    #[serde(default)]
    pub netns_cookie: Option<u64>,
    /// The interface that the CNI put into the namespace.
    pub pod_link: IfName,
    /// What the port is made of.
    #[serde(default)]
    pub mode: Mode,
    /// The tap to make, or the one that is there.
    pub tap: TapSpec,
    /// The guest's MAC; the pod link's when not given.
    pub mac: Option<MacAddr>,
    /// How packets leave towards the node.
    pub tier: TierChoice,
    /// Exceptions from the guard.
    #[serde(default)]
    pub guard: GuardSpec,
    /// What the guest is told in place of, or besides, what the pod says.
    #[serde(default)]
    pub hand_off: HandOff,
    /// A resolv.conf(5) whose servers and search list the guest gets; found by the pod's path when not given.
    pub resolv_conf: Option<PathBuf>,
    /// The guest's host name; found by the pod's path when not given.
    pub hostname: Option<String>,
    /// Who asked, and for which pod.
    #[serde(default)]
    pub origin: Origin,
    /// `false` once the port is to go: set before teardown begins, so that a crash does not bring it back.
    pub wanted: bool,
}

impl PortSpec {
    /// The name of the port that this asks for.
    pub fn id(&self) -> PortId {
        PortId { netns_ino: self.netns_id.ino, pod_link: self.pod_link.clone() }
    }

    /// Whether both ask for the same port. What the agent notes for itself does not count.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let asked = |spec: &Self| Self { netns_cookie: None, wanted: true, ..spec.clone() };
        asked(self) == asked(other)
    }

    /// What can't be changed while the port exists and differs from `other`, in words; `None` when nothing does.
    pub fn conflict_with(&self, other: &Self) -> Option<String> {
        let (a, b) = (&self.tap, &other.tap);
        let differences: Vec<_> = [
            ("mode", self.mode.to_string(), other.mode.to_string()),
            ("tap name", a.name.to_string(), b.name.to_string()),
            ("queues", a.queues.to_string(), b.queues.to_string()),
            ("owner", a.owner_text(), b.owner_text()),
        ]
        .into_iter()
        .filter(|(_, a, b)| a != b)
        .map(|(what, a, b)| format!("{what} {a} instead of {b}"))
        .collect();
        (!differences.is_empty()).then(|| differences.join(", "))
    }
}

/// The tap device a VMM will open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapSpec {
    /// Its name in the pod's namespace.
    pub name: IfName,
    /// Queue pairs, 1 to 256. More than one makes the tap multi-queue, and the VMM must open it so.
    pub queues: u16,
    /// User that may open it without CAP_NET_ADMIN; anybody may when absent.
    pub uid: Option<u32>,
    /// Group that may open it without CAP_NET_ADMIN.
    pub gid: Option<u32>,
}

impl TapSpec {
    /// `UID:GID`, with `-` for one that is not set.
    pub fn owner_text(&self) -> String {
        owner_text(self.uid, self.gid)
    }
}

/// `UID:GID`, with `-` for one that is not set.
pub fn owner_text(uid: Option<u32>, gid: Option<u32>) -> String {
    let part = |id: Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{}:{}", part(uid), part(gid))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn spec() -> PortSpec {
        PortSpec {
            netns: "/run/netns/pod".into(),
            netns_id: NetnsId { dev: 4, ino: 4026532281 },
            netns_cookie: Some(9),
            pod_link: "eth0".parse().unwrap(),
            mode: Mode::L2,
            tap: TapSpec { name: "tap0".parse().unwrap(), queues: 1, uid: Some(107), gid: Some(107) },
            mac: None,
            tier: TierChoice::Auto,
            guard: GuardSpec::default(),
            hand_off: HandOff::default(),
            resolv_conf: None,
            hostname: Some("vm".into()),
            origin: Origin::default(),
            wanted: true,
        }
    }

    #[test]
    fn survives_its_file() {
        let text = serde_json::to_string(&spec()).unwrap();
        assert_eq!(serde_json::from_str::<PortSpec>(&text).unwrap(), spec());
    }

    #[test]
    fn a_field_of_another_version_is_passed_over() {
        let mut value = serde_json::to_value(spec()).unwrap();
        value["from_the_future"] = true.into();
        for later in ["netns_cookie", "mode", "guard", "hand_off", "origin"] {
            value.as_object_mut().unwrap().remove(later);
        }
        let read: PortSpec = serde_json::from_value(value).unwrap();
        assert_eq!(read, PortSpec { netns_cookie: None, ..spec() });
    }

    #[test]
    fn only_tap_and_mode_conflict() {
        let mut other = spec();
        other.hostname = None;
        other.tier = TierChoice::Plain;
        other.hand_off.mtu = Some(1400);
        other.hand_off.lease_seconds = Some(300);
        assert_eq!(spec().conflict_with(&other), None);
        other.tap.queues = 4;
        other.tap.uid = None;
        assert_eq!(
            spec().conflict_with(&other).unwrap(),
            "queues 1 instead of 4, owner 107:107 instead of -:107"
        );
        let accelerated = PortSpec { mode: Mode::Accelerate, ..spec() };
        assert_eq!(spec().conflict_with(&accelerated).unwrap(), "mode l2 instead of accelerate");
    }
}
