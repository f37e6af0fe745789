// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attaching XDP programs: native mode alone, by links that are pinned.

use std::{io, path::Path};

use aya::{
    Ebpf,
    programs::{
        ProgramError, Xdp, XdpMode,
        links::{FdLink, PinnedLink},
        xdp::XdpLink,
    },
};

use super::programs::link_failed;
use crate::core::{ids::IfName, program::Program};

/// In the thread that has entered the namespace: the kernel looks the device up there.
pub(super) fn attach_here(
    ebpf: &mut Ebpf,
    program: Program,
    ifname: &IfName,
    pin: &Path,
) -> Result<(), ProgramError> {
    let xdp = xdp(ebpf, program)?;
    // Generic XDP is not taken: it costs more than tc and copies what tc does not.
    let id = xdp.attach(ifname.as_str(), XdpMode::Driver).map_err(|e| explained(e, ifname))?;
    let link = xdp.take_link(id)?;
    // Where the kernel refuses the link, aya attaches by netlink, which would end with this process.
    let link: FdLink = link.try_into().map_err(link_failed)?;
    link.pin(pin).map_err(|e| ProgramError::IOError(io::Error::other(e)))?;
    Ok(())
}

pub(super) fn replace_here(ebpf: &mut Ebpf, program: Program, pin: &Path) -> Result<(), ProgramError> {
    let link: XdpLink =
        FdLink::from(PinnedLink::from_pin(pin).map_err(link_failed)?).try_into().map_err(link_failed)?;
    let xdp = xdp(ebpf, program)?;
    let id = xdp.attach_to_link(link)?;
    xdp.take_link(id)?;
    Ok(())
}

fn xdp(ebpf: &mut Ebpf, program: Program) -> Result<&mut Xdp, ProgramError> {
    ebpf.program_mut(program.symbol()).ok_or(ProgramError::NotLoaded)?.try_into()
}

/// A link gets the bare errno; what it means, the kernel says to netlink callers only (`dev_xdp_attach`, net/core/dev.c,
/// and `veth_xdp_set`, drivers/net/veth.c).
fn explained(error: ProgramError, ifname: &IfName) -> ProgramError {
    let ProgramError::SyscallError(e) = &error else { return error };
    let words = match e.io_error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => "its driver has no native XDP",
        Some(libc::EBUSY) => "another XDP program is on it",
        Some(libc::ERANGE) => "the MTU of its peer is too large for XDP",
        Some(libc::ENOSPC) => "its peer has more transmit queues than it has receive queues",
        _ => return error,
    };
    ProgramError::IOError(io::Error::new(e.io_error.kind(), format!("{ifname}: {words} ({})", e.io_error)))
}
