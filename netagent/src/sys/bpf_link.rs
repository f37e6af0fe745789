// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a pinned tcx link is attached to: the one thing about links that aya does not tell.

use std::{io, path::Path};

use super::bpf::{self, Readout};

/// `BPF_LINK_TYPE_TCX`.
const TCX: u32 = 11;

/// `struct bpf_link_info`, as far as it is the same for all kernels that have tcx.
#[repr(C, align(8))]
#[derive(Default)]
struct LinkTarget {
    kind: u32,
    id: u32,
    program_id: u32,
    padding: u32,
    ifindex: u32,
    attach_type: u32,
}

// SAFETY: plain numbers in the kernel's order; the union of kinds begins at 16, because it holds 64-bit fields.
unsafe impl Readout for LinkTarget {}

/// What a tcx link holds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcxLink {
    /// Index of the device, in the device's own namespace; `None` once the device is gone or the link was detached.
    pub ifindex: Option<u32>,
    /// The program, by its id in the kernel.
    pub program_id: u32,
}

/// Reads a pinned tcx link. Works from any namespace.
///
/// # Errors
/// When the pin cannot be opened, or is no tcx link.
pub fn tcx(pin: &Path) -> io::Result<TcxLink> {
    let link = bpf::info(&bpf::open_pin(pin)?, LinkTarget::default())?;
    if link.kind != TCX {
        return Err(io::Error::other("not a tcx link"));
    }
    Ok(TcxLink { ifindex: (link.ifindex != 0).then_some(link.ifindex), program_id: link.program_id })
}
