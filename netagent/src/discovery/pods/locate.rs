// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a sandbox's ports are made, and where its guest's resolver and name come from.

use std::path::{Path, PathBuf};

use super::PodError;
use crate::{
    core::{
        ask::PortAsk,
        ids::NetnsId,
        origin::{Origin, Pod},
        spec::PortSpec,
    },
    discovery::Whereabouts,
    sys::netns::Netns,
};

/// Bytes of one label of a name (RFC 1035, 2.3.4): what the kubelet cuts a pod's name to.
const LABEL: usize = 63;

/// A sandbox's network, found.
pub(super) struct Place {
    netns: PathBuf,
    id: NetnsId,
    resolv_conf: Option<PathBuf>,
    hostname: Option<String>,
}

/// Finds the network of a pod.
pub(super) fn place(pod: &Pod, whereabouts: &Whereabouts) -> Result<Place, PodError> {
    let (netns, pid, resolv_conf, hostname) = match whereabouts {
        Whereabouts::Node => return Err(PodError::HostNetwork(pod.clone())),
        Whereabouts::Unknown => return Err(PodError::NoNetns(pod.clone())),
        Whereabouts::Pod { netns, pid, resolv_conf, hostname } => (netns, pid, resolv_conf, hostname),
    };
    let open = |path: &Path| Netns::open_pod(path);
    let found = open(netns).map_err(|source| match source {
        crate::sys::netns::NetnsError::Host(_) => PodError::HostNetwork(pod.clone()),
        source => PodError::Netns { pod: pod.clone(), source },
    })?;
    let id = found.id();
    let hostname = hostname.clone().or_else(|| kubernetes_hostname(&pod.name));
    let resolv_conf = resolv_conf.clone().filter(|path| path.is_file());
    let mut place = Place { netns: netns.clone(), id, resolv_conf, hostname };
    // By its process the namespace leads to the pod's files as well. Only where that number means the same process to
    // this agent as to the runtime: not in a container with process ids of its own.
    let by_process = PathBuf::from(format!("/proc/{pid}/ns/net"));
    if place.resolv_conf.is_none() && *pid != 0 && open(&by_process).is_ok_and(|found| found.id() == id) {
        place.netns = by_process;
    }
    Ok(place)
}

impl Place {
    /// A port of the pod.
    pub(super) fn port(&self, mut ask: PortAsk, origin: Origin) -> PortSpec {
        ask.resolv_conf = ask.resolv_conf.or_else(|| self.resolv_conf.clone());
        ask.hostname = ask.hostname.or_else(|| self.hostname.clone());
        ask.into_spec(self.netns.clone(), self.id, origin)
    }
}

/// The host name of a pod that says nothing of it: its own name, cut to what a label holds (kubelet,
/// `truncatePodHostnameIfNeeded`).
fn kubernetes_hostname(name: &str) -> Option<String> {
    let cut = name.get(..LABEL).unwrap_or(name).trim_end_matches(['-', '.']);
    (!cut.is_empty()).then(|| cut.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_called_as_the_kubelet_calls_it() {
        assert_eq!(kubernetes_hostname("vm-1").as_deref(), Some("vm-1"));
        let long = format!("{}-.tail", "x".repeat(61));
        assert_eq!(kubernetes_hostname(&long), Some("x".repeat(61)));
        assert_eq!(kubernetes_hostname(""), None);
    }

    #[test]
    fn networks_that_no_guest_can_have_are_refused_in_words() {
        let pod = Pod { uid: "u".into(), namespace: "ns".into(), name: "vm".into() };
        let refused = |whereabouts| {
            let error = place(&pod, &whereabouts).err().unwrap();
            format!("{:#}", anyhow::Error::from(error))
        };
        let at =
            |netns: &str| Whereabouts::Pod { netns: netns.into(), pid: 0, resolv_conf: None, hostname: None };
        assert!(refused(Whereabouts::Node).contains("pod ns/vm is on the node's own network"));
        assert!(refused(at("/proc/self/ns/net")).contains("pod ns/vm is on the node's own network"));
        assert!(refused(Whereabouts::Unknown).contains("does not tell"));
        assert!(
            refused(at("/run/netns/not-there"))
                .contains("pod ns/vm: no network namespace at /run/netns/not-there")
        );
    }
}
