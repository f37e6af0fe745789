// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a pinned tcx or XDP link is attached to, and taking it off in one moment: what aya does not do for links.

use std::{io, os::fd::AsRawFd as _, path::Path};

use super::bpf::{self, Attributes, Command, Readout};

/// `BPF_LINK_TYPE_XDP` and `BPF_LINK_TYPE_TCX`.
const OF_DEVICES: [u32; 2] = [6, 11];

/// `struct bpf_link_info` of a link to a device, as far as it is the same for all kinds and kernels.
#[repr(C, align(8))]
#[derive(Default)]
struct LinkTarget {
    kind: u32,
    id: u32,
    program_id: u32,
    padding: u32,
    ifindex: u32,
    reserved: u32,
}

// SAFETY: plain numbers in the kernel's order; the union of kinds begins at 16, because it holds 64-bit fields.
unsafe impl Readout for LinkTarget {}

/// What a link to a device holds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLink {
    /// Index of the device, in the device's own namespace; `None` once the device is gone or the link was detached.
    pub ifindex: Option<u32>,
    /// The program, by its id in the kernel.
    pub program_id: u32,
}

/// Reads a pinned link to a device. Works from any namespace.
///
/// # Errors
/// When the pin cannot be opened, or is no tcx or XDP link.
pub fn of_device(pin: &Path) -> io::Result<DeviceLink> {
    let link = bpf::info(&bpf::open_pin(pin)?, LinkTarget::default())?;
    if !OF_DEVICES.contains(&link.kind) {
        return Err(io::Error::other("neither a tcx nor an XDP link"));
    }
    Ok(DeviceLink { ifindex: (link.ifindex != 0).then_some(link.ifindex), program_id: link.program_id })
}

#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

// SAFETY: `BPF_LINK_DETACH` reads one descriptor, which `detach` keeps.
unsafe impl Attributes for LinkDetach {
    const COMMAND: Command = Command::LinkDetach;
}

/// Detaches a pinned link (kernel 5.9); one that is detached already is as good. The pin stays.
///
/// The kernel waits until no CPU runs the program any more (`tcx_link_detach`, kernel/bpf/tcx.c). Removing the pin alone
/// leaves that to a work queue.
///
/// # Errors
/// When the pin cannot be opened or the kernel refuses.
pub fn detach(pin: &Path) -> io::Result<()> {
    let link = bpf::open_pin(pin)?;
    bpf::bpf(&mut LinkDetach { link_fd: link.as_raw_fd().cast_unsigned() }).map(drop)
}
