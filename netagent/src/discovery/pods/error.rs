// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a pod does not get its ports: in words for people, and as one of few kinds for metrics.

use std::time::Duration;

use crate::{
    core::{
        annotations::AnnotationError,
        ids::IfName,
        origin::{OriginError, Pod},
    },
    discovery::WiringError,
    sys::netns::NetnsError,
};

/// Why a pod does not get its ports.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// What its annotations say.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// What the runtime calls it.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// It has no network of its own.
    #[error(
        "pod {0} is on the node's own network, which no guest can have; take hostNetwork or the annotation away"
    )]
    HostNetwork(Pod),
    /// Nobody knows where its network is.
    #[error("pod {0}: the container runtime does not tell where its network namespace is")]
    NoNetns(Pod),
    /// Its network cannot be entered.
    #[error("pod {pod}")]
    Netns {
        /// The pod.
        pod: Pod,
        /// Why not.
        #[source]
        source: NetnsError,
    },
    /// Wiring takes longer than the runtime waits.
    #[error("the ports of pod {pod} are not wired within {} ms; the agent's log says what is slow", .within.as_millis())]
    Late {
        /// The pod.
        pod: Pod,
        /// How long it may take.
        within: Duration,
    },
    /// A port cannot be wired.
    #[error("pod {pod}: wire {link}")]
    Wire {
        /// The pod.
        pod: Pod,
        /// The port's link.
        link: IfName,
        /// Why not.
        #[source]
        source: WiringError,
    },
}

impl PodError {
    /// Of what kind it is.
    pub(super) fn obstacle(&self) -> Obstacle {
        match self {
            Self::Annotation(_) => Obstacle::Annotation,
            Self::Origin(_) => Obstacle::Identity,
            Self::HostNetwork(_) => Obstacle::HostNetwork,
            Self::NoNetns(_) | Self::Netns { .. } => Obstacle::Netns,
            Self::Late { .. } => Obstacle::Late,
            Self::Wire { .. } => Obstacle::Wire,
        }
    }

    /// Whether it may be otherwise the next time.
    pub(super) fn may_pass(&self) -> bool {
        !matches!(self, Self::Annotation(_) | Self::Origin(_) | Self::HostNetwork(_))
    }
}

/// The kinds of what is in the way of a pod's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// What its annotations say.
    Annotation,
    /// What the runtime calls it.
    Identity,
    /// It is on the node's network.
    HostNetwork,
    /// Its namespace is not known, or cannot be entered.
    Netns,
    /// A port cannot be wired.
    Wire,
    /// Wiring takes longer than the runtime waits.
    Late,
}

impl Obstacle {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Annotation, Self::Identity, Self::HostNetwork, Self::Netns, Self::Wire, Self::Late];

    /// The stable name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Annotation => "annotation",
            Self::Identity => "identity",
            Self::HostNetwork => "host_network",
            Self::Netns => "netns",
            Self::Wire => "wire",
            Self::Late => "late",
        }
    }
}
