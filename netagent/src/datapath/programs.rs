// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attaching: tcx links that are pinned, or cls_bpf filters that persist by themselves.

use std::{io, path::Path};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, LinkError, PinnedLink},
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions},
    },
};

use super::{Datapath, DatapathError, object, xdp};
use crate::{
    core::{
        ids::{IfName, PortId},
        owned::{FILTER_HANDLE, FILTER_PRIORITY},
        program::{Program, Side},
        tier::Hook,
    },
    sys::{
        bpf_link::{self, DeviceLink},
        bpf_program,
        netns::Netns,
    },
};

/// A port's pinned link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPin {
    /// No pin.
    Absent,
    /// A pin of a link whose device is gone, or that somebody detached.
    Severed,
    /// Attached to a device.
    Attached {
        /// The device, in its own namespace.
        ifindex: u32,
        /// The program, by its id in the kernel.
        program_id: u32,
    },
}

/// Where a program goes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The port's namespace.
    pub netns: &'a Netns,
    /// The port.
    pub port: &'a PortId,
    /// Which program.
    pub program: Program,
    /// On which hook.
    pub hook: Hook,
    /// For which slot it is loaded.
    pub slot: u32,
    /// On which device; on which side of it, the program says.
    pub ifname: &'a IfName,
}

impl Datapath {
    /// What a port's pin of `program` holds. Needs no namespace.
    ///
    /// # Errors
    /// When the pin cannot be read.
    pub fn link_pin(&self, port: &PortId, program: Program) -> Result<LinkPin, DatapathError> {
        let path = self.pins().link(port, program);
        let link = match bpf_link::of_device(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(LinkPin::Absent),
            other => other,
        };
        let DeviceLink { ifindex, program_id } =
            link.map_err(|source| DatapathError::Pin { operation: "read the link", path, source })?;
        Ok(ifindex.map_or(LinkPin::Severed, |ifindex| LinkPin::Attached { ifindex, program_id }))
    }

    /// Whether a program in the kernel is this agent's `program` for `slot`, on this agent's maps. The tag alone does
    /// not tell: it leaves out what the maps hold, the slot among them.
    ///
    /// # Errors
    /// When programs or maps cannot be read.
    pub fn is_current(&self, program: Program, program_id: u32, slot: u32) -> Result<bool, DatapathError> {
        let failed = |source| DatapathError::Program { id: program_id, source };
        let Some(loaded) = bpf_program::by_id(program_id).map_err(failed)? else { return Ok(false) };
        if Some(loaded.tag) != self.tag(program) {
            return Ok(false);
        }
        self.maps().belongs_to_slot(&loaded.map_ids, slot)
    }

    /// Whether somebody else has a tcx program on the egress of the port's pod link, `ifname`.
    ///
    /// # Errors
    /// When the device cannot be asked.
    pub async fn has_foreign_tcx_egress(
        &self,
        netns: &Netns,
        port: &PortId,
        ifname: &IfName,
    ) -> Result<bool, DatapathError> {
        if !self.features().tcx {
            return Ok(false);
        }
        let ours = match self.link_pin(port, Program::FromPod)? {
            LinkPin::Attached { program_id, .. } => Some(program_id),
            LinkPin::Absent | LinkPin::Severed => None,
        };
        let name = ifname.clone();
        let query =
            netns.run(move || SchedClassifier::query_tcx(name.as_str(), TcAttachType::Egress)).await?;
        let (_, programs) =
            query.map_err(|e| DatapathError::Query { ifname: ifname.clone(), source: Box::new(e) })?;
        Ok(programs.iter().any(|program| Some(program.id()) != ours))
    }

    /// Loads a program, out of `stock` if that is of the slot, and attaches it. Returns the stock for the next one.
    ///
    /// # Errors
    /// When the kernel refuses it; nothing stays attached then.
    pub async fn attach(&self, place: &Place<'_>, stock: Stock) -> Result<Stock, DatapathError> {
        if place.hook != Hook::Clsact {
            self.pins().make_port(place.port)?;
        }
        let attached = self.put(place, stock, attach_here).await;
        if attached.is_err() {
            self.pins().prune_port(place.port);
        }
        attached
    }

    /// Puts this agent's program in the place of the one that is attached, with `stock` as above. No packet sees neither or
    /// both.
    ///
    /// # Errors
    /// When the kernel refuses it; the other one stays then.
    pub async fn replace(&self, place: &Place<'_>, stock: Stock) -> Result<Stock, DatapathError> {
        self.put(place, stock, replace_here).await
    }

    async fn put(&self, place: &Place<'_>, stock: Stock, how: Put) -> Result<Stock, DatapathError> {
        let Place { netns, port, program, hook, slot, ifname } = *place;
        let mut ebpf = match stock.0 {
            Some((of, ebpf)) if of == slot => ebpf,
            _ => self.shared.object.load(self.pins(), slot)?,
        };
        object::verified(&mut ebpf, program.symbol())?;
        let path = self.pins().link(port, program);
        let name = ifname.clone();
        let put = netns.run(move || how(&mut ebpf, program, hook, &name, &path).map(|()| ebpf)).await?;
        let ebpf =
            put.map_err(|e| DatapathError::Attach { program, ifname: ifname.clone(), source: Box::new(e) })?;
        Ok(Stock(Some((slot, ebpf))))
    }
}

/// The object as it was loaded for a slot's first program: the others are taken out of the same one. Each program can be
/// taken once.
#[derive(Default)]
pub struct Stock(Option<(u32, Ebpf)>);

/// What the thread does that has entered the namespace.
type Put = fn(&mut Ebpf, Program, Hook, &IfName, &Path) -> Result<(), ProgramError>;

/// In the thread that has entered the namespace: the kernel looks the device up there.
fn attach_here(
    ebpf: &mut Ebpf,
    program: Program,
    hook: Hook,
    ifname: &IfName,
    pin: &Path,
) -> Result<(), ProgramError> {
    let options = match hook {
        Hook::Xdp => return xdp::attach_here(ebpf, program, ifname, pin),
        Hook::Tcx => TcAttachOptions::TcxOrder(order(program)),
        Hook::Clsact => TcAttachOptions::Netlink(NlOptions {
            priority: FILTER_PRIORITY,
            handle: FILTER_HANDLE.into(),
            classid: None,
        }),
    };
    let classifier = classifier(ebpf, program)?;
    let id = classifier.attach_with_options(ifname.as_str(), side(program), options)?;
    keep(classifier.take_link(id)?, hook, pin)
}

fn replace_here(
    ebpf: &mut Ebpf,
    program: Program,
    hook: Hook,
    ifname: &IfName,
    pin: &Path,
) -> Result<(), ProgramError> {
    let attached = match hook {
        Hook::Xdp => return xdp::replace_here(ebpf, program, pin),
        Hook::Tcx => {
            FdLink::from(PinnedLink::from_pin(pin).map_err(link_failed)?).try_into().map_err(link_failed)?
        }
        Hook::Clsact => SchedClassifierLink::attached(
            ifname.as_str(),
            side(program),
            FILTER_PRIORITY,
            FILTER_HANDLE.into(),
            None,
        )
        .map_err(ProgramError::IOError)?,
    };
    let classifier = classifier(ebpf, program)?;
    let id = classifier.attach_to_link(attached)?;
    let link = classifier.take_link(id)?;
    if hook == Hook::Clsact {
        std::mem::forget(link);
    }
    Ok(())
}

/// Lets the attachment outlive this process.
fn keep(link: SchedClassifierLink, hook: Hook, pin: &Path) -> Result<(), ProgramError> {
    match hook {
        Hook::Tcx | Hook::Xdp => {
            let link: FdLink = link.try_into().map_err(link_failed)?;
            link.pin(pin).map_err(|e| ProgramError::IOError(io::Error::other(e)))?;
        }
        // A filter belongs to its qdisc. aya would remove it here, in whatever namespace this thread is in.
        Hook::Clsact => std::mem::forget(link),
    }
    Ok(())
}

/// Where a program goes among others' on its hook. What stands behind it sees only what it lets pass: nothing that it
/// redirects or drops.
fn order(program: Program) -> LinkOrder {
    match program {
        // The tap is ours, and nothing that the guest sends is to be taken past the guard.
        Program::FromVm => LinkOrder::first(),
        // What the CNI or others have put on the pod link goes on seeing all of it. An XDP hook has one program and no
        // order.
        Program::FromPod | Program::ToVm | Program::XdpFromVm | Program::XdpToVm => LinkOrder::last(),
    }
}

fn side(program: Program) -> TcAttachType {
    match program.side() {
        Side::Ingress => TcAttachType::Ingress,
        Side::Egress => TcAttachType::Egress,
    }
}

fn classifier(ebpf: &mut Ebpf, program: Program) -> Result<&mut SchedClassifier, ProgramError> {
    ebpf.program_mut(program.symbol()).ok_or(ProgramError::NotLoaded)?.try_into()
}

pub(super) fn link_failed(error: LinkError) -> ProgramError {
    ProgramError::IOError(io::Error::other(error))
}
