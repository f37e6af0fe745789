// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who wants a port, besides those who call the API: KubeVirt's node hooks, and container runtimes, by their list of pods
//! (CRI) or before a pod starts (NRI). What they want is data; wiring it is somebody else's, behind [`Wiring`].

pub mod cri;
pub mod kubevirt;
pub mod nri;
mod patience;
mod pods;
mod sandbox;
#[cfg(test)]
mod stand_in;
mod wiring;

pub use pods::{Obstacle, PodError, Pods, Trouble};
pub use sandbox::{Sandbox, Whereabouts};
pub use wiring::{Wiring, WiringError};
