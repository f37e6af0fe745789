// SPDX-License-Identifier: MIT OR Apache-2.0
//! The difference between desired and observed, as an ordered list of steps.
//!
//! Order is safety: the tap comes up last and goes first, so there is no moment in which a guest can send past the
//! programs. Steps are data: `netagent plan` prints them, `reconcile::apply` carries them out.

use netagent_common::maps::{self, OWNS_CLSACT};

use super::{
    desired::DesiredPort,
    guest::Guest,
    ids::IfName,
    mode::Mode,
    observed::{Clsact, Observed, ObservedProgram, ObservedTap, Tap, Target},
    program::Program,
    question::Question,
    self_test::SelfTest,
    spec::TapSpec,
    tier::{Hook, Tier},
};

mod bridged;
#[cfg(test)]
mod tests;

/// One action of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the tap, down, with noqueue.
    CreateTap {
        /// What the VMM will open.
        tap: TapSpec,
        /// In bytes.
        mtu: u32,
    },
    /// Give the tap the pod link's MTU.
    SetTapMtu(u32),
    /// Take the queue off the tap: the ring to the VMM is one already.
    SetTapNoqueue,
    /// Write the port entry that the programs read.
    WriteEntry {
        /// Where.
        slot: u32,
        /// What. `tap_ifindex` 0 stands for the tap that this plan makes.
        entry: Box<maps::Port>,
    },
    /// Add the clsact qdisc to the pod link.
    AddClsact,
    /// Put a device in a place that the slot's XDP programs send to.
    SetTarget {
        /// The slot.
        slot: u32,
        /// Which place.
        target: Target,
    },
    /// Empty a place that the slot's XDP programs send to.
    ClearTarget {
        /// The slot.
        slot: u32,
        /// Which place.
        target: Target,
    },
    /// Remove a pin whose device is gone.
    RemoveSeveredPin(Program),
    /// Load a program for the slot and attach it.
    Attach {
        /// Which.
        program: Program,
        /// Where.
        hook: Hook,
        /// The slot that it is loaded for.
        slot: u32,
    },
    /// Put this agent's program in the place of another version's, without a gap.
    Replace {
        /// Which.
        program: Program,
        /// Where it is.
        hook: Hook,
        /// The slot that it is loaded for.
        slot: u32,
    },
    /// Answer the guest's DHCP.
    Serve {
        /// The slot whose frames are answered.
        slot: u32,
        /// What it is told.
        guest: Box<Guest>,
    },
    /// Set the tap up.
    SetTapUp,
    /// Ask the gateway for its MAC as the guest would, and note in the entry which tier the answer proves.
    ProvePath {
        /// The slot whose path is tried.
        slot: u32,
        /// The tier that is tried first.
        tier: Tier,
        /// What is asked.
        question: Question,
    },
    /// Stop answering the guest in the slot.
    StopServing(u32),
    /// Delete the tap, and with it the program on it.
    DeleteTap {
        /// Its name.
        name: IfName,
        /// Its index: a device that takes the name meanwhile is not ours.
        ifindex: u32,
    },
    /// Take a program off its device. `from_vm` is never taken off a tap of ours: it goes with it, or the guest could
    /// send past it.
    Detach {
        /// Which.
        program: Program,
        /// Where it is.
        hook: Hook,
    },
    /// Remove the clsact qdisc that we added to the pod link.
    RemoveClsact,
    /// Free the slot.
    EraseEntry(u32),
}

/// Why there is no plan: going on would touch what is not ours, or there is no room.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is taken.
    #[error(
        "{name} exists and was not made by netagent for this port ({what}); choose another --tap, or delete it"
    )]
    ForeignTap {
        /// The tap's name.
        name: IfName,
        /// What has the name.
        what: String,
    },
    /// In mode `accelerate` there is nothing to be faster than.
    #[error(
        "{tap} is not a tap in one bridge with {pod_link} ({what}), as KubeVirt's binding `bridge` makes it; name both with --tap and --pod-link, or leave out --mode accelerate"
    )]
    NotBridged {
        /// The tap's name.
        tap: IfName,
        /// The pod link's.
        pod_link: IfName,
        /// What has the tap's name.
        what: String,
    },
    /// Ours, but not as it is asked for, and flags of a tap never change.
    #[error("tap {name} has {have}, and {want} was asked for; detach the port first")]
    TapDiffers {
        /// The tap's name.
        name: IfName,
        /// What it has.
        have: String,
        /// What it should have.
        want: String,
    },
    /// Without tcx the guard of the pod link's egress needs a clsact qdisc, and an ingress qdisc has its place.
    #[error(
        "pod link {0} has an ingress qdisc, where this kernel (without tcx, before 6.6) needs a clsact qdisc; replace it by one"
    )]
    NoEgress(IfName),
    /// All slots are taken.
    #[error("all {} ports of this node are in use; detach one first", maps::MAX_PORTS)]
    NoSlot,
}

/// The steps that make `observed` become `desired`; none when it is.
///
/// # Errors
/// When something that is not ours stands in the way.
pub fn plan(desired: Option<&DesiredPort>, observed: &Observed, tap: &IfName) -> Result<Vec<Step>, Refusal> {
    match desired {
        Some(desired) => match desired.mode {
            Mode::L2 => wire(desired, observed),
            Mode::Accelerate => bridged::wire(desired, observed),
        },
        None => Ok(unwire(observed, tap)),
    }
}

fn wire(desired: &DesiredPort, observed: &Observed) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    let mtu = desired.pod_link.mtu;
    let tap = own_tap(desired, &observed.tap)?;
    match tap {
        None => steps.push(Step::CreateTap { tap: desired.tap.clone(), mtu }),
        Some(tap) => {
            if tap.mtu != mtu {
                steps.push(Step::SetTapMtu(mtu));
            }
            if !tap.noqueue {
                steps.push(Step::SetTapNoqueue);
            }
        }
    }

    let slot = observed.slot.ok_or(Refusal::NoSlot)?;
    let on_pod_link = [Program::FromPod, Program::ToVm];
    let attaches =
        on_pod_link.iter().any(|p| !matches!(observed.program(*p), ObservedProgram::Attached { .. }));
    let needs_clsact = attaches && desired.hook == Hook::Clsact;
    if needs_clsact && observed.clsact == Clsact::IngressOnly {
        return Err(Refusal::NoEgress(desired.pod_link.ifname.clone()));
    }
    let owns_clsact = match &observed.entry {
        Some((_, entry)) if entry.flags & OWNS_CLSACT != 0 => true,
        _ => needs_clsact && observed.clsact == Clsact::Absent,
    };
    let self_test = observed.self_test(desired.pod_link.ifindex);
    let mut entry = desired.entry(tap.map_or(0, |t| t.ifindex), owns_clsact);
    entry.flags |= self_test.to_flags();
    if observed.entry != Some((slot, entry)) {
        steps.push(Step::WriteEntry { slot, entry: Box::new(entry) });
    }

    if needs_clsact && observed.clsact == Clsact::Absent {
        steps.push(Step::AddClsact);
    }
    let xdp = desired.tier == Tier::Xdp;
    if xdp {
        for target in Target::ALL {
            let device = match target {
                Target::PodLink => Some(desired.pod_link.ifindex),
                Target::Tap => tap.map(|tap| tap.ifindex),
            };
            if device.is_none() || observed.targets.get(target) != device {
                steps.push(Step::SetTarget { slot, target });
            }
        }
    }
    for program in Program::ALL {
        steps.extend(place(desired, program, observed.program(program), slot));
    }
    if !xdp {
        steps.extend(clear_targets(observed, slot));
    }

    // A tap made anew has another index, and the answers go out through it.
    if tap.is_none() || observed.serving.as_ref() != Some(&desired.guest) {
        steps.push(Step::Serve { slot, guest: Box::new(desired.guest.clone()) });
    }
    if !tap.is_some_and(|t| t.up) {
        steps.push(Step::SetTapUp);
    }
    if let (SelfTest::NotMade, Some(question)) = (self_test, desired.question()) {
        steps.push(Step::ProvePath { slot, tier: desired.tier, question });
    }
    Ok(steps)
}

/// The steps that put one program in its place, or take it off when the tier does without it.
fn place(desired: &DesiredPort, program: Program, observed: ObservedProgram, slot: u32) -> Vec<Step> {
    let hook = if program.is_xdp() { Hook::Xdp } else { desired.hook };
    let attach = Step::Attach { program, hook, slot };
    match (desired.tier.has(program), observed) {
        (true, ObservedProgram::Absent) => vec![attach],
        (true, ObservedProgram::Severed) => vec![Step::RemoveSeveredPin(program), attach],
        (true, ObservedProgram::Attached { hook, current: false }) => {
            vec![Step::Replace { program, hook, slot }]
        }
        (true, ObservedProgram::Attached { current: true, .. }) | (false, ObservedProgram::Absent) => vec![],
        (false, ObservedProgram::Severed) => vec![Step::RemoveSeveredPin(program)],
        // Nothing is unguarded by this: the tc program behind it judges the same frames.
        (false, ObservedProgram::Attached { hook, .. }) => vec![Step::Detach { program, hook }],
    }
}

fn clear_targets(observed: &Observed, slot: u32) -> impl Iterator<Item = Step> {
    let targets = observed.targets;
    Target::ALL
        .into_iter()
        .filter(move |target| targets.get(*target).is_some())
        .map(move |target| Step::ClearTarget { slot, target })
}

fn own_tap<'a>(desired: &DesiredPort, observed: &'a ObservedTap) -> Result<Option<&'a Tap>, Refusal> {
    let name = || desired.tap.name.clone();
    match observed {
        ObservedTap::Absent => Ok(None),
        ObservedTap::Foreign(what) => Err(Refusal::ForeignTap { name: name(), what: what.clone() }),
        ObservedTap::Bridged(_) => {
            Err(Refusal::ForeignTap { name: name(), what: "a tap in one bridge with the pod link".into() })
        }
        ObservedTap::Ours(tap) => {
            let queues = |multi| if multi { "several queues" } else { "one queue" };
            let want_multi = desired.tap.queues > 1;
            if tap.multi_queue != want_multi {
                let (have, want) = (queues(tap.multi_queue).into(), queues(want_multi).into());
                return Err(Refusal::TapDiffers { name: name(), have, want });
            }
            if (tap.uid, tap.gid) != (desired.tap.uid, desired.tap.gid) {
                let have = format!("owner {}", tap.owner_text());
                let want = format!("owner {}", desired.tap.owner_text());
                return Err(Refusal::TapDiffers { name: name(), have, want });
            }
            Ok(Some(tap))
        }
    }
}

fn unwire(observed: &Observed, tap: &IfName) -> Vec<Step> {
    let mut steps = Vec::new();
    if let (Some(_), Some(slot)) = (&observed.serving, observed.slot) {
        steps.push(Step::StopServing(slot));
    }
    if let ObservedTap::Ours(own) = &observed.tap {
        steps.push(Step::DeleteTap { name: tap.clone(), ifindex: own.ifindex });
    }
    for program in Program::ALL {
        if observed.program(program) == ObservedProgram::Severed {
            steps.push(Step::RemoveSeveredPin(program));
        }
    }
    // A tap that stays goes on without us: its bridge has its frames back.
    let stays = !matches!(observed.tap, ObservedTap::Ours(_));
    let last = stays.then_some(Program::FromVm);
    for program in [Program::XdpToVm, Program::ToVm, Program::FromPod].into_iter().chain(last) {
        if let ObservedProgram::Attached { hook, .. } = observed.program(program) {
            steps.push(Step::Detach { program, hook });
        }
    }
    if let Some((slot, entry)) = observed.entry {
        steps.extend(clear_targets(observed, slot));
        if entry.flags & OWNS_CLSACT != 0 && observed.clsact == Clsact::Ours {
            steps.push(Step::RemoveClsact);
        }
        steps.push(Step::EraseEntry(slot));
    }
    steps
}
