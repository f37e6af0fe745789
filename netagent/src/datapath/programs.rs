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

use super::{Datapath, DatapathError, object};
use crate::{
    core::{
        ids::{IfName, PortId},
        owned::{FILTER_HANDLE, FILTER_PRIORITY},
        plan::Program,
        tier::Hook,
    },
    sys::netns::Netns,
};

/// A port's pinned tcx link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPin {
    /// No pin.
    Absent,
    /// A pin of a link whose device is gone.
    Severed,
    /// Attached, with the tag of the program.
    Attached(u64),
}

impl Datapath {
    /// What a port's pin of `program` holds. `ifname` is the device that should carry it, if there is one.
    ///
    /// # Errors
    /// When the pin or the device cannot be read.
    pub async fn link_pin(
        &self,
        netns: Option<&Netns>,
        port: &PortId,
        program: Program,
        ifname: Option<&IfName>,
    ) -> Result<LinkPin, DatapathError> {
        let path = self.pins().link(port, program);
        if !path.exists() {
            return Ok(LinkPin::Absent);
        }
        let pinned = pinned_program(&path)?;
        let (Some(netns), Some(ifname)) = (netns, ifname) else { return Ok(LinkPin::Severed) };
        let name = ifname.clone();
        let attached = netns
            .run(move || SchedClassifier::query_tcx(name.as_str(), TcAttachType::Ingress))
            .await?
            .map_err(|e| DatapathError::Attach { program, ifname: ifname.clone(), source: Box::new(e) })?
            .1;
        let found = attached.iter().find(|info| info.id() == pinned);
        Ok(found.map_or(LinkPin::Severed, |info| LinkPin::Attached(info.tag())))
    }

    /// Loads `program` for `slot` and attaches it to the ingress of `ifname`.
    ///
    /// # Errors
    /// When the kernel refuses it; nothing stays attached then.
    pub async fn attach(
        &self,
        netns: &Netns,
        port: &PortId,
        program: Program,
        hook: Hook,
        slot: u32,
        ifname: &IfName,
    ) -> Result<(), DatapathError> {
        let mut ebpf = self.shared.object.load(self.pins(), slot)?;
        object::verified(&mut ebpf, program)?;
        if hook == Hook::Tcx {
            self.pins().make_port(port)?;
        }
        let path = self.pins().link(port, program);
        let name = ifname.clone();
        netns
            .run(move || attach_here(ebpf, program, hook, &name, &path))
            .await?
            .map_err(|e| DatapathError::Attach { program, ifname: ifname.clone(), source: Box::new(e) })
    }

    /// Puts this agent's `program` in the place of the one that is attached. No packet sees neither or both.
    ///
    /// # Errors
    /// When the kernel refuses it; the other one stays then.
    pub async fn replace(
        &self,
        netns: &Netns,
        port: &PortId,
        program: Program,
        hook: Hook,
        slot: u32,
        ifname: &IfName,
    ) -> Result<(), DatapathError> {
        let mut ebpf = self.shared.object.load(self.pins(), slot)?;
        object::verified(&mut ebpf, program)?;
        let path = self.pins().link(port, program);
        let name = ifname.clone();
        netns
            .run(move || replace_here(ebpf, program, hook, &name, &path))
            .await?
            .map_err(|e| DatapathError::Attach { program, ifname: ifname.clone(), source: Box::new(e) })
    }
}

fn pinned_program(path: &Path) -> Result<u32, DatapathError> {
    let failed = |e: LinkError| DatapathError::Pin {
        operation: "read the link",
        path: path.to_owned(),
        source: io::Error::other(e),
    };
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(failed)?);
    Ok(link.info().map_err(failed)?.program_id())
}

/// In the thread that has entered the namespace: the kernel looks the device up there.
fn attach_here(
    mut ebpf: Ebpf,
    program: Program,
    hook: Hook,
    ifname: &IfName,
    pin: &Path,
) -> Result<(), ProgramError> {
    let classifier = classifier(&mut ebpf, program)?;
    let options = match hook {
        Hook::Tcx => TcAttachOptions::TcxOrder(LinkOrder::default()),
        Hook::Clsact => TcAttachOptions::Netlink(NlOptions {
            priority: FILTER_PRIORITY,
            handle: FILTER_HANDLE.into(),
            classid: None,
        }),
    };
    let id = classifier.attach_with_options(ifname.as_str(), TcAttachType::Ingress, options)?;
    keep(classifier.take_link(id)?, hook, pin)
}

fn replace_here(
    mut ebpf: Ebpf,
    program: Program,
    hook: Hook,
    ifname: &IfName,
    pin: &Path,
) -> Result<(), ProgramError> {
    let classifier = classifier(&mut ebpf, program)?;
    let attached = match hook {
        Hook::Tcx => {
            FdLink::from(PinnedLink::from_pin(pin).map_err(link_failed)?).try_into().map_err(link_failed)?
        }
        Hook::Clsact => SchedClassifierLink::attached(
            ifname.as_str(),
            TcAttachType::Ingress,
            FILTER_PRIORITY,
            FILTER_HANDLE.into(),
            None,
        )
        .map_err(ProgramError::IOError)?,
    };
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
        Hook::Tcx => {
            let link: FdLink = link.try_into().map_err(link_failed)?;
            link.pin(pin).map_err(|e| ProgramError::IOError(io::Error::other(e)))?;
        }
        // A filter belongs to its qdisc. aya would remove it here, in whatever namespace this thread is in.
        Hook::Clsact => std::mem::forget(link),
    }
    Ok(())
}

fn classifier(ebpf: &mut Ebpf, program: Program) -> Result<&mut SchedClassifier, ProgramError> {
    ebpf.program_mut(program.symbol()).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn link_failed(error: LinkError) -> ProgramError {
    ProgramError::IOError(io::Error::other(error))
}
