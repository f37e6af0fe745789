// SPDX-License-Identifier: MIT OR Apache-2.0
//! macvtap on the pod link, as Kata's network model of that name sets it: no tap, no bridge, no tc.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};
use netagent_tests::topology::POD_LINK;

use crate::bench::scene::{Plug, TAP, Wired, pod, spelled};

/// The pod link hands its own MAC to the guest and gets this one.
const POD_LINK_MAC: &str = "02:00:00:88:00:05";

/// The pod link without addresses below a macvtap with its MAC.
pub(super) fn build() -> Result<Wired> {
    let index = index();
    let wired = Wired { plug: Plug::Macvtap(index), ..Wired::plain(pod()?)? };
    let pod = &wired.topology.pod;
    pod.ip(&format!("address flush dev {POD_LINK} scope global"))?;
    pod.ip(&format!("link set {POD_LINK} address {POD_LINK_MAC}"))?;
    let mac = spelled(wired.guest_mac);
    pod.ip(&format!(
        "link add link {POD_LINK} index {index} name {TAP} address {mac} type macvtap mode bridge"
    ))
    .context("macvtap needs CONFIG_MACVTAP")?;
    pod.ip(&format!("link set {TAP} up"))?;
    Ok(wired)
}

/// An index that no other macvtap has in any namespace: its device file is called after it.
fn index() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    0x10_0000 + (process::id() & 0xf_ffff) * 0x100 + (NEXT.fetch_add(1, Ordering::Relaxed) & 0xff)
}
