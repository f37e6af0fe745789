// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's root file system: a few programs, the libraries they name, the modules, our scripts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};

use super::{cpio::Node, elf, kernel::Kernel};
use crate::process::run_ok;

/// A file of ours in the guest.
pub(super) struct Script {
    pub(super) path: &'static str,
    pub(super) mode: u32,
    pub(super) text: &'static str,
}

pub(super) const SCRIPTS: [Script; 5] = [
    // Debian's dhclient-script reads it to learn whether / is writable.
    Script { path: "etc/fstab", mode: 0o644, text: "" },
    Script { path: "init", mode: 0o755, text: include_str!("../../guest/init.sh") },
    Script { path: "usr/share/netagent/lease.sh", mode: 0o755, text: crate::guest::LEASE_SCRIPT },
    Script { path: "usr/share/netagent/shrc", mode: 0o644, text: include_str!("../../guest/shrc") },
    Script {
        path: "etc/dhcp/dhclient-exit-hooks.d/zz-netagent",
        mode: 0o644,
        text: include_str!("../../guest/dhclient-exit-hook"),
    },
];

/// What each package is here for, as packages before and after the merge of / and /usr have it (below `usr` or not).
const PROGRAMS: [&str; 8] = [
    "bin/busybox",
    "bin/dash",
    "bin/ip",
    "bin/iperf3",
    // dhclient-script lists its hooks by --list, which busybox's has not.
    "bin/run-parts",
    "bin/socat",
    "sbin/dhclient",
    "sbin/ethtool",
];
const OTHER_FILES: [&str; 3] = [
    "sbin/dhclient-script",
    "etc/dhcp/dhclient.conf",
    "etc/dhcp/dhclient-exit-hooks.d/rfc3442-classless-routes",
];
/// Bus and card of QEMU's microvm.
const MODULES: [&str; 2] = ["virtio_mmio", "virtio_net"];
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
/// The ELF interpreter: programs name it by this path.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";

/// The tree, in the making.
#[derive(Debug, Default)]
pub(super) struct Root {
    entries: BTreeMap<String, Node>,
}

/// The static busybox of an unpacked package.
pub(super) fn busybox(unpacked: &Path) -> Result<PathBuf> {
    locate(unpacked, "bin/busybox")
}

impl Root {
    /// Gathers everything from the unpacked packages.
    pub(super) fn collect(unpacked: &Path, kernel: &Kernel) -> Result<Self> {
        let mut root = Self::default();
        for dir in ["bin", "sbin", "lib", "lib64"] {
            root.put(dir, Node::Symlink { target: format!("usr/{dir}") });
        }
        for dir in ["dev", "proc", "sys", "tmp", "run", "root", "var/run", "usr/lib64"] {
            root.put(dir, Node::Dir);
        }
        for program in PROGRAMS {
            root.add_program(unpacked, program)?;
        }
        for file in OTHER_FILES {
            let bytes = read(&locate(unpacked, file)?)?;
            let mode = if file.starts_with("sbin") { 0o755 } else { 0o644 };
            root.put(&merged(file), Node::File { mode, bytes });
        }
        let loader = read(&locate(unpacked, LOADER)?)?;
        root.put(&merged(LOADER), Node::File { mode: 0o755, bytes: loader });
        root.put("usr/bin/sh", Node::Symlink { target: "dash".to_owned() });
        root.add_applets(&busybox(unpacked)?)?;
        root.add_modules(kernel)?;
        for script in SCRIPTS {
            root.put(script.path, Node::File { mode: script.mode, bytes: script.text.as_bytes().to_vec() });
        }
        Ok(root)
    }

    /// Paths without a leading slash, sorted.
    pub(super) fn entries(&self) -> &BTreeMap<String, Node> {
        &self.entries
    }

    fn put(&mut self, path: &str, node: Node) {
        let mut parent = Path::new(path);
        while let Some(dir) = parent.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            self.entries.entry(dir.to_string_lossy().into_owned()).or_insert(Node::Dir);
            parent = dir;
        }
        self.entries.insert(path.to_owned(), node);
    }

    /// A program and, over all levels, the libraries it is linked to.
    fn add_program(&mut self, unpacked: &Path, path: &str) -> Result<()> {
        let bytes = read(&locate(unpacked, path)?)?;
        let mut wanted = elf::needed(&bytes);
        self.put(&merged(path), Node::File { mode: 0o755, bytes });
        while let Some(soname) = wanted.pop() {
            let path = format!("{LIBRARIES}/{soname}");
            if self.entries.contains_key(&merged(&path)) {
                continue;
            }
            let bytes = read(&locate(unpacked, &path)?)?;
            wanted.extend(elf::needed(&bytes));
            self.put(&merged(&path), Node::File { mode: 0o755, bytes });
        }
        Ok(())
    }

    /// Links to busybox for what no real program provides.
    fn add_applets(&mut self, busybox: &Path) -> Result<()> {
        let applets = run_ok(Command::new(busybox).arg("--list"), Duration::from_secs(10))?;
        for applet in applets.lines() {
            let path = format!("usr/bin/{applet}");
            if !self.entries.contains_key(&path) && !self.entries.contains_key(&format!("usr/sbin/{applet}"))
            {
                self.put(&path, Node::Symlink { target: "busybox".to_owned() });
            }
        }
        Ok(())
    }

    fn add_modules(&mut self, kernel: &Kernel) -> Result<()> {
        let mut order = String::new();
        for (file, bytes) in kernel.modules(MODULES)? {
            order.push_str(&file);
            order.push('\n');
            self.put(&format!("usr/lib/modules/{file}"), Node::File { mode: 0o644, bytes });
        }
        self.put("usr/lib/modules/order", Node::File { mode: 0o644, bytes: order.into_bytes() });
        Ok(())
    }
}

/// `path` as a package may have it.
fn locate(unpacked: &Path, path: &str) -> Result<PathBuf> {
    [unpacked.join("usr").join(path), unpacked.join(path)]
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| anyhow!("none of the packages has {path}"))
}

/// `path` in the guest, where / and /usr are merged.
fn merged(path: &str) -> String {
    if path.starts_with("etc/") { path.to_owned() } else { format!("usr/{path}") }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
