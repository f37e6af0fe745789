// SPDX-License-Identifier: MIT OR Apache-2.0
//! Putting a program on a link: tcx where the kernel has it, else a clsact filter.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{bpffs::BpfFs, netns::Netns};
use nix::libc;

use super::{Attributes, Call, call, call_for_fd, program::Program};

const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
/// The loopback link of every namespace.
const LOOPBACK: u32 = 1;

/// Where on a link programs sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Hook {
    /// Kernel 6.6 and later.
    Tcx,
    /// A `bpf` filter on the clsact qdisc.
    Clsact,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// On which way through a link.
#[derive(Clone, Copy, Debug)]
enum Side {
    Ingress,
    Egress,
}

impl Side {
    /// As `tc` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    fn attach_type(self) -> u32 {
        match self {
            Self::Ingress => BPF_TCX_INGRESS,
            Self::Egress => BPF_TCX_EGRESS,
        }
    }
}

/// Attaches all programs of the comparison by the one hook that this kernel has best, as the agent does.
#[derive(Debug)]
pub(in crate::bench) struct Attacher {
    hook: Hook,
    // `tc` takes programs by path only.
    pins: BpfFs,
    _dir: tempfile::TempDir,
}

/// An attached program. A tcx link ends with it, a clsact filter with its link.
#[derive(Debug)]
pub(in crate::bench) struct Attached {
    _link: Option<OwnedFd>,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    padding: u32,
    revision: u64,
}

#[repr(C)]
#[derive(Default)]
struct Query {
    ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    padding: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: no pointers.
unsafe impl Attributes for LinkCreate {}
#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: its pointers are null and its count is zero: the kernel writes the count only.
unsafe impl Attributes for Query {}

impl Attacher {
    /// Asks the kernel which hook it has.
    pub(in crate::bench) fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("nabench-").tempdir().context("cannot make a folder")?;
        let pins = BpfFs::mount(&dir.path().join("bpf"))?;
        let hook =
            if knows_tcx().context("cannot ask the kernel for tcx")? { Hook::Tcx } else { Hook::Clsact };
        Ok(Self { hook, pins, _dir: dir })
    }

    /// The hook in use.
    pub(in crate::bench) fn hook(&self) -> Hook {
        self.hook
    }

    /// Puts `program` on the ingress of `link` in `netns`.
    pub(in crate::bench) fn ingress(&self, netns: &Netns, link: &str, program: &Program) -> Result<Attached> {
        self.put(netns, link, Side::Ingress, program)
    }

    /// Puts `program` on the egress of `link` in `netns`.
    pub(in crate::bench) fn egress(&self, netns: &Netns, link: &str, program: &Program) -> Result<Attached> {
        self.put(netns, link, Side::Egress, program)
    }

    /// Removes what stays on a link when what was attached there is dropped.
    pub(in crate::bench) fn clean(&self, netns: &Netns, link: &str) -> Result<()> {
        match self.hook {
            Hook::Tcx => Ok(()),
            Hook::Clsact => netns.exec_ok(&["tc", "qdisc", "delete", "dev", link, "clsact"]).map(drop),
        }
    }

    fn put(&self, netns: &Netns, link: &str, side: Side, program: &Program) -> Result<Attached> {
        let attached = match self.hook {
            Hook::Tcx => tcx(netns, link, side, program).map(Some),
            Hook::Clsact => self.clsact(netns, link, side, program).map(|()| None),
        };
        let link = attached
            .with_context(|| format!("cannot attach to the {} of {link} in {}", side.name(), netns.name()))?;
        Ok(Attached { _link: link })
    }

    fn clsact(&self, netns: &Netns, link: &str, side: Side, program: &Program) -> Result<()> {
        let pin: PathBuf = self.pins.path().join("program");
        program.pin(&pin)?;
        let pin = Path::to_str(&pin).ok_or_else(|| anyhow!("{} is not UTF-8", pin.display()))?;
        netns.exec_ok(&["tc", "qdisc", "replace", "dev", link, "clsact"])?;
        netns.exec_ok(&[
            "tc",
            "filter",
            "add",
            "dev",
            link,
            side.name(),
            "bpf",
            "direct-action",
            "object-pinned",
            pin,
        ])?;
        Ok(())
    }
}

/// The kernel looks the ifindex up in the namespace of the thread that asks.
fn tcx(netns: &Netns, link: &str, side: Side, program: &Program) -> Result<OwnedFd> {
    let mut create = LinkCreate {
        program: program.number(),
        ifindex: ifindex(netns, link)?,
        attach_type: side.attach_type(),
        ..LinkCreate::default()
    };
    netns.run_inside(|| call_for_fd(Call::LinkCreate, &mut create))?.context("tcx")
}

/// The index of `link` in `netns`.
pub(in crate::bench) fn ifindex(netns: &Netns, link: &str) -> Result<u32> {
    netns
        .run_inside(|| nix::net::if_::if_nametoindex(link))?
        .with_context(|| format!("no link {link} in {}", netns.name()))
}

fn knows_tcx() -> io::Result<bool> {
    let mut query = Query { ifindex: LOOPBACK, attach_type: BPF_TCX_INGRESS, ..Query::default() };
    match call(Call::ProgQuery, &mut query) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(false),
        Err(error) => Err(error),
    }
}
