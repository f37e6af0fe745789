// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan of mode `accelerate`: programs come and go, and no device is made, changed or removed.
//!
//! While a program is off, the bridge has the frames of its way. So any order is safe for the guest, and whenever the
//! wiring is not as it must be, taking everything off is the repair.

use super::{DesiredPort, IfName, Observed, ObservedTap, Refusal, Step, place, unwire};
use crate::core::program::Program;

pub(super) fn wire(desired: &DesiredPort, observed: &Observed) -> Result<Vec<Step>, Refusal> {
    let ObservedTap::Bridged(tap) = &observed.tap else {
        let steps = unwire(observed, &desired.tap.name);
        return if steps.is_empty() { Err(not_bridged(desired, &observed.tap)) } else { Ok(steps) };
    };
    let slot = observed.slot.ok_or(Refusal::NoSlot)?;
    let mut steps = Vec::new();
    let entry = desired.entry(tap.ifindex, false);
    if observed.entry != Some((slot, entry)) {
        steps.push(Step::WriteEntry { slot, entry: Box::new(entry) });
    }
    for program in Program::ALL {
        steps.extend(place(desired, program, observed.program(program), slot));
    }
    Ok(steps)
}

fn not_bridged(desired: &DesiredPort, tap: &ObservedTap) -> Refusal {
    let what = match tap {
        ObservedTap::Absent => "there is none".to_owned(),
        ObservedTap::Foreign(what) => what.clone(),
        ObservedTap::Ours(_) => "netagent made it".to_owned(),
        ObservedTap::Bridged(_) => "it is one".to_owned(),
    };
    let name = |name: &IfName| name.clone();
    Refusal::NotBridged { tap: name(&desired.tap.name), pod_link: name(&desired.pod_link.ifname), what }
}
