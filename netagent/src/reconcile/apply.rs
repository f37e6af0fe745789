// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries out steps: one exhaustive match, nothing decided here.

use std::mem;

use super::{
    Parts,
    observe::{Inside, device, is_ours},
    prove::{ProveError, Trial},
};
use crate::{
    core::{
        ids::{IfName, PortId},
        mode::Mode,
        observed::Target,
        owned,
        plan::Step,
        program::Program,
        question::Question,
        self_test::SelfTest,
        spec::{PortSpec, TapSpec},
        tier::{Hook, Tier},
    },
    datapath::{DatapathError, Place, Stock},
    dhcp::Served,
    netlink::NetlinkError,
    sys::{
        netns::NetnsError,
        selinux,
        tap::{TapDraft, TapError},
        tap_queue::TapQueue,
    },
};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// On programs, maps or pins.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// On links, qdiscs or filters.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// On making the tap.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// On entering the namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// On trying the path.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// A device that the step needs has gone since the plan was made.
    #[error("link {0} is gone")]
    LinkGone(IfName),
    /// Another port has taken the slot since the plan was made.
    #[error("slot {0} was taken by another port")]
    SlotTaken(u32),
    /// The namespace has gone since the plan was made.
    #[error("the namespace is gone")]
    NetnsGone,
}

/// Applies the steps of one plan of a port.
pub(super) struct Applier<'a> {
    parts: &'a Parts,
    spec: &'a PortSpec,
    inside: Option<&'a Inside>,
    id: PortId,
    stock: Stock,
}

impl<'a> Applier<'a> {
    pub(super) fn new(parts: &'a Parts, spec: &'a PortSpec, inside: Option<&'a Inside>) -> Self {
        Self { parts, spec, inside, id: spec.id(), stock: Stock::default() }
    }

    /// Carries out one step. What it would remove and is gone already is success.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) async fn apply(&mut self, step: &Step) -> Result<(), StepError> {
        let datapath = &self.parts.datapath;
        match step {
            Step::CreateTap { tap, mtu } => self.create_tap(tap, *mtu).await,
            Step::SetTapMtu(mtu) => {
                Ok(self.inside()?.netlink.set_mtu(self.tap_ifindex().await?, *mtu).await?)
            }
            Step::SetTapNoqueue => Ok(self.inside()?.netlink.set_noqueue(self.tap_ifindex().await?).await?),
            Step::SetTapUp => Ok(self.inside()?.netlink.set_up(self.tap_ifindex().await?).await?),
            Step::WriteEntry { slot, entry } => {
                if self.parts.slots.claim(&self.id) != Some(*slot) {
                    return Err(StepError::SlotTaken(*slot));
                }
                let mut entry = **entry;
                if entry.tap_ifindex == 0 {
                    entry.tap_ifindex = self.tap_ifindex().await?;
                }
                Ok(datapath.maps().write_entry(*slot, &entry)?)
            }
            Step::AddClsact => Ok(self.inside()?.netlink.add_clsact(self.pod_ifindex().await?).await?),
            Step::SetTarget { slot, target } => {
                let ifindex = match target {
                    Target::PodLink => self.pod_ifindex().await?,
                    Target::Tap => self.tap_ifindex().await?,
                };
                Ok(datapath.set_target(&self.inside()?.netns, *slot, *target, ifindex).await?)
            }
            Step::ClearTarget { slot, target } => Ok(datapath.clear_target(*slot, *target)?),
            Step::RemoveSeveredPin(program) => Ok(datapath.pins().remove_link(&self.id, *program)?),
            Step::Attach { program, hook, slot } => self.attach(*program, *hook, *slot).await,
            Step::Replace { program, hook, slot } => {
                let stock = mem::take(&mut self.stock);
                self.stock = datapath.replace(&self.place(*program, *hook, *slot)?, stock).await?;
                Ok(())
            }
            Step::Serve { slot, guest, gone } => {
                let served = Served {
                    port: self.id.clone(),
                    netns: self.spec.netns.clone(),
                    netns_id: self.spec.netns_id,
                    tap_ifindex: self.tap_ifindex().await?,
                    guest: (**guest).clone(),
                    gone: gone.clone(),
                };
                self.parts.dhcp.serve(*slot, served);
                Ok(())
            }
            Step::ProvePath { slot, tier, question } => self.prove_path(*slot, *tier, question).await,
            Step::StopServing(slot) => {
                self.parts.dhcp.stop(*slot);
                Ok(())
            }
            Step::DeleteTap { ifindex, .. } => {
                gone_is_done(self.inside()?.netlink.delete_link(*ifindex).await)
            }
            Step::Detach { program, hook } => self.detach(*program, *hook).await,
            Step::RemoveClsact => match self.pod_ifindex().await {
                Ok(ifindex) => gone_is_done(self.inside()?.netlink.delete_clsact(ifindex).await),
                Err(StepError::LinkGone(_)) => Ok(()),
                Err(e) => Err(e),
            },
            Step::EraseEntry(slot) => {
                datapath.pins().remove_port(&self.id);
                Ok(datapath.maps().erase_entry(*slot)?)
            }
        }
    }

    async fn create_tap(&self, tap: &TapSpec, mtu: u32) -> Result<(), StepError> {
        let inside = self.inside()?;
        let tap = tap.clone();
        let label = selinux::label_for(&self.spec.netns);
        let draft = inside
            .netns
            .run(move || TapDraft::create(&tap.name, tap.queues > 1, tap.uid, tap.gid, label.as_ref()))
            .await??;
        // From here to `keep` the tap dies with its descriptor: what is found later always has our alias.
        inside.netlink.set_alias(draft.ifindex, &owned::tap_alias(&self.id)).await?;
        inside.netlink.set_mtu(draft.ifindex, mtu).await?;
        inside.netlink.set_noqueue(draft.ifindex).await?;
        draft.keep()?;
        Ok(())
    }

    async fn prove_path(&self, slot: u32, tier: Tier, question: &Question) -> Result<(), StepError> {
        let mut trial = Trial::of(self.parts.datapath.maps(), slot)?;
        let outcome = match self.open_tap().await? {
            None => SelfTest::TapInUse,
            Some(queue) => trial.make(&queue.watch().map_err(ProveError::Tap)?, question, tier).await?,
        };
        Ok(trial.note(outcome)?)
    }

    /// The tap, as a VMM opens it; `None` when somebody has it open.
    async fn open_tap(&self) -> Result<Option<TapQueue>, StepError> {
        let inside = self.inside()?;
        let name = self.spec.tap.name.clone();
        let link = inside.netlink.link(&name).await?;
        let link = link.filter(|link| owned::is_tap_of(&self.id, link.alias.as_deref()));
        let Some(link) = link else { return Err(StepError::LinkGone(name)) };
        let tun = link.tun.unwrap_or_default();
        // A further queue would take frames from the VMM's.
        if tun.open_queues > 0 {
            return Ok(None);
        }
        Ok(inside.netns.run(move || TapQueue::open(&name, link.ifindex, tun.multi_queue)).await??)
    }

    async fn attach(&mut self, program: Program, hook: Hook, slot: u32) -> Result<(), StepError> {
        // The tap needs a clsact of its own; it goes with the tap. The pod link's is a step, because it stays.
        if hook == Hook::Clsact && program == Program::FromVm {
            self.inside()?.netlink.add_clsact(self.tap_ifindex().await?).await?;
        }
        let stock = mem::take(&mut self.stock);
        self.stock = self.parts.datapath.attach(&self.place(program, hook, slot)?, stock).await?;
        Ok(())
    }

    fn place(&self, program: Program, hook: Hook, slot: u32) -> Result<Place<'_>, StepError> {
        let netns = &self.inside()?.netns;
        Ok(Place { netns, port: &self.id, program, hook, slot, ifname: device(self.spec, program) })
    }

    async fn detach(&self, program: Program, hook: Hook) -> Result<(), StepError> {
        match hook {
            Hook::Tcx | Hook::Xdp => {
                let pins = self.parts.datapath.pins();
                // What only loses its pin may still run when its settings are erased, and drop what a bridge would
                // have forwarded. Taps of ours are gone by now.
                if self.spec.mode == Mode::Accelerate {
                    pins.sever_link(&self.id, program)?;
                }
                Ok(pins.remove_link(&self.id, program)?)
            }
            Hook::Clsact => {
                let ifindex = match self.pod_ifindex().await {
                    Err(StepError::LinkGone(_)) => return Ok(()),
                    other => other?,
                };
                let netlink = &self.inside()?.netlink;
                for filter in netlink.filters(ifindex, program.side()).await? {
                    if is_ours(program, &filter) {
                        gone_is_done(netlink.delete_filter(ifindex, program.side(), &filter).await)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn inside(&self) -> Result<&'a Inside, StepError> {
        self.inside.ok_or(StepError::NetnsGone)
    }

    /// Index of the tap, if it is still ours: the name may have changed hands since the plan was made.
    async fn tap_ifindex(&self) -> Result<u32, StepError> {
        let name = &self.spec.tap.name;
        let link = self.inside()?.netlink.link(name).await?;
        link.filter(|link| owned::is_tap_of(&self.id, link.alias.as_deref()))
            .map(|link| link.ifindex)
            .ok_or_else(|| StepError::LinkGone(name.clone()))
    }

    async fn pod_ifindex(&self) -> Result<u32, StepError> {
        let name = &self.spec.pod_link;
        let link = self.inside()?.netlink.link(name).await?;
        link.map(|link| link.ifindex).ok_or_else(|| StepError::LinkGone(name.clone()))
    }
}

fn gone_is_done(result: Result<(), NetlinkError>) -> Result<(), StepError> {
    match result {
        Err(e) if e.is_gone() => Ok(()),
        other => Ok(other?),
    }
}
