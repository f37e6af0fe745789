// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of what a machine needs: one row each, with the reason and with what brings it.

use std::path::Path;

use super::{apt, ebpf, rust_component};
use crate::privilege::find_program;

/// What somebody wants to do, and what he must have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Build,
    Ci,
    Bpf,
    Netns,
    Containerd,
    Vm,
    /// Other kernels: what the other tiers need, and what packs it for them.
    Matrix,
    Demo,
    Bench,
}

impl Need {
    pub(crate) const ALL: [Self; 9] = [
        Self::Build,
        Self::Ci,
        Self::Bpf,
        Self::Netns,
        Self::Containerd,
        Self::Vm,
        Self::Matrix,
        Self::Demo,
        Self::Bench,
    ];
}

/// One row.
pub(crate) struct Requirement {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) check: Check,
    pub(crate) remedy: Remedy,
}

/// How presence is seen.
pub(crate) enum Check {
    /// A program of this name is there.
    Program(&'static str),
    /// Asked of the code that knows.
    Ask(fn() -> Finding),
}

/// What brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Debian packages.
    Packages(&'static [&'static str]),
    /// apt-get update.
    PackageLists,
    /// See [`ebpf`].
    Toolchain,
    /// See [`ebpf`].
    Linker,
    /// A rustup component, and the Debian package with the same program for machines without rustup.
    Component(&'static str, &'static str),
}

/// What a check saw.
pub(crate) enum Finding {
    /// There, and which.
    Ready(String),
    /// Not there, or not usable, and why.
    Missing(String),
}

use Check::{Ask, Program};
use Need::{Bench, Bpf, Ci, Containerd, Demo, Matrix, Netns, Vm};
use Remedy::{Component, Linker, PackageLists, Packages, Toolchain};

/// In the order in which they are shown and installed.
pub(crate) const REQUIREMENTS: [Requirement; 26] = [
    row(
        "eBPF toolchain",
        "compiles core and the programs for bpfel-unknown-none",
        &ALL,
        Ask(ebpf::toolchain),
        Toolchain,
    ),
    row(
        "bpf-linker",
        "links the programs; same LLVM major as the toolchain",
        &ALL,
        Ask(ebpf::linker),
        Linker,
    ),
    row(
        "rustfmt",
        "cargo xtask ci",
        &[Ci],
        Ask(|| rust_component::find("fmt")),
        Component("rustfmt", "rustfmt-web"),
    ),
    row(
        "clippy",
        "cargo xtask ci",
        &[Ci],
        Ask(|| rust_component::find("clippy")),
        Component("clippy", "rust-web-clippy"),
    ),
    row(
        "ip",
        "namespaces and links",
        &[Netns, Containerd, Vm, Demo, Bench],
        Program("ip"),
        Packages(&["iproute2"]),
    ),
    row(
        "tc",
        "shows that only our programs are attached",
        &[Netns, Vm, Demo, Bench],
        Program("tc"),
        Packages(&["iproute2"]),
    ),
    row(
        "ping",
        "from node to guest",
        &[Netns, Containerd, Vm, Demo, Bench],
        Program("ping"),
        Packages(&["iputils-ping"]),
    ),
    row(
        "bpftool",
        "lists programs, maps and pins",
        &[Bpf, Netns, Demo, Bench],
        Program("bpftool"),
        Packages(&["bpftool"]),
    ),
    row(
        "tcpdump",
        "shows the packets where a test fails",
        &[Netns, Vm],
        Program("tcpdump"),
        Packages(&["tcpdump"]),
    ),
    row("udhcpc", "DHCP client", &[Netns, Containerd], Program("udhcpc"), Packages(&["udhcpc"])),
    row(
        "busybox",
        "udhcpd, in place of KubeVirt's DHCP",
        &[Netns],
        Program("busybox"),
        Packages(&["busybox"]),
    ),
    row("dhclient", "DHCP client", &[Netns], Program("dhclient"), Packages(&["isc-dhcp-client"])),
    row("dhcpcd", "DHCP client", &[Netns], Program("dhcpcd"), Packages(&["dhcpcd-base"])),
    row(
        "networkctl",
        "systemd-networkd as a DHCP client",
        &[Netns],
        Program("networkctl"),
        Packages(&["systemd"]),
    ),
    row(
        "tshark",
        "decodes what the agent says, independently of it",
        &[Netns],
        Program("tshark"),
        Packages(&["tshark"]),
    ),
    row(
        "CNI plugins",
        "what netagent's plugin stands behind",
        &[Netns],
        Ask(cni_plugins),
        Packages(&["containernetworking-plugins"]),
    ),
    row("iptables", "the CNI plugin portmap uses it", &[Netns], Program("iptables"), Packages(&["iptables"])),
    row("iperf3", "traffic", &[Netns, Vm, Demo, Bench], Program("iperf3"), Packages(&["iperf3"])),
    row("fio", "requests and their answers", &[Bench], Program("fio"), Packages(&["fio"])),
    row(
        "strip",
        "makes programs small enough for an initramfs and an image",
        &[Matrix, Netns],
        Program("strip"),
        Packages(&["binutils"]),
    ),
    row(
        "cc",
        "builds the program in a pod's sandbox",
        &[Containerd],
        Program("cc"),
        Packages(&["gcc", "libc6-dev"]),
    ),
    row("QEMU", "runs the guest", &[Vm, Demo], Program("qemu-system-x86_64"), Packages(&["qemu-system-x86"])),
    row("zstd", "unpacks guest kernels", &[Vm, Demo], Program("zstd"), Packages(&["zstd"])),
    row("lz4", "unpacks guest kernels", &[Vm, Demo], Program("lz4"), Packages(&["lz4"])),
    row("xz", "unpacks kernel modules", &[Vm, Demo], Program("xz"), Packages(&["xz-utils"])),
    row(
        "apt lists",
        "the guest's kernel and programs, and containerd, kubectl and promtool for tests, are Debian packages",
        &[Netns, Containerd, Vm, Demo],
        Ask(apt::lists),
        PackageLists,
    ),
];

const ALL: [Need; 9] = Need::ALL;

const fn row(
    name: &'static str,
    why: &'static str,
    needs: &'static [Need],
    check: Check,
    remedy: Remedy,
) -> Requirement {
    Requirement { name, why, needs, check, remedy }
}

/// They are on nobody's PATH.
fn cni_plugins() -> Finding {
    let folder = Path::new("/usr/lib/cni");
    match ["bridge", "ptp", "host-local", "portmap"].into_iter().find(|name| !folder.join(name).is_file()) {
        Some(name) => Finding::Missing(format!("no {} there", folder.join(name).display())),
        None => Finding::Ready(folder.display().to_string()),
    }
}

impl Requirement {
    pub(crate) fn find(&self) -> Finding {
        match self.check {
            Program(name) => match find_program(name) {
                Some(path) => Finding::Ready(path.display().to_string()),
                None => Finding::Missing(format!("no program {name}")),
            },
            Ask(find) => find(),
        }
    }

    pub(crate) fn is_for(&self, needs: &[Need]) -> bool {
        self.needs.iter().any(|need| needs.contains(need))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_has_a_toolchain_and_a_linker() {
        for need in Need::ALL {
            let names: Vec<_> =
                REQUIREMENTS.iter().filter(|row| row.is_for(&[need])).map(|row| row.name).collect();
            assert!(
                names.contains(&"eBPF toolchain") && names.contains(&"bpf-linker"),
                "{need:?}: {names:?}"
            );
        }
    }

    #[test]
    fn a_missing_program_is_reported() {
        let row = row("x", "y", &[Need::Vm], Program("no-such-program-of-netagent"), Packages(&["x"]));
        assert!(matches!(row.find(), Finding::Missing(_)));
        let shell = super::row("x", "y", &[Need::Vm], Program("sh"), Packages(&["dash"]));
        assert!(matches!(shell.find(), Finding::Ready(_)));
    }
}
