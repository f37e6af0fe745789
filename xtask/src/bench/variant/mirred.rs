// SPDX-License-Identifier: MIT OR Apache-2.0
//! tc mirred: what Kata's tcfilter and tc-redirect-tap set, filter by filter.

use anyhow::{Context as _, Result};
use netagent_tests::topology::POD_LINK;

use crate::bench::scene::{Qdisc, TAP, Wired, make_tap, pod};

/// An ingress qdisc and one u32 filter that matches all, on each of the two links.
pub(super) fn build() -> Result<Wired> {
    let topology = pod()?;
    make_tap(&topology.pod, topology.spec.mtu, Qdisc::Default)?;
    for (from, to) in [(TAP, POD_LINK), (POD_LINK, TAP)] {
        topology.pod.exec_ok(&["tc", "qdisc", "add", "dev", from, "ingress"])?;
        let filter = format!(
            "tc filter add dev {from} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev {to}"
        );
        topology
            .pod
            .exec_ok(&filter.split_whitespace().collect::<Vec<_>>())
            .context("mirred needs cls_u32 and act_mirred (CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED)")?;
    }
    Wired::plain(topology)
}
