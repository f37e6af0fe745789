// SPDX-License-Identifier: MIT OR Apache-2.0
//! What leaves by the pod link: the guest's frames, and never those of the pod's own stack.

use super::Verdict;
use crate::{counters::DropReason, maps::Port};

/// Judges a frame on the pod link's egress by the device that it came in through, 0 for one that was made here.
///
/// The pod's stack still owns the addresses that the guest uses: its duplicate address detection, router solicitations,
/// group reports and ARP would speak as the guest, and a neighbour would believe them.
#[inline(always)]
pub fn from_pod(ingress_ifindex: u32, port: &Port) -> Verdict {
    // Tier `plain` sends the guest's frames through here; `from_vm` has judged them on the tap.
    if ingress_ifindex != 0 && ingress_ifindex == port.tap_ifindex {
        Verdict::Forward
    } else {
        Verdict::Drop(DropReason::PodStack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_from_the_tap_leaves() {
        let mut port: Port = bytemuck::Zeroable::zeroed();
        assert_eq!(from_pod(0, &port), Verdict::Drop(DropReason::PodStack), "a port without a tap");
        port.tap_ifindex = 7;
        assert_eq!(from_pod(7, &port), Verdict::Forward);
        assert_eq!(from_pod(0, &port), Verdict::Drop(DropReason::PodStack));
        assert_eq!(from_pod(2, &port), Verdict::Drop(DropReason::PodStack));
    }
}
