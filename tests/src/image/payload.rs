// SPDX-License-Identifier: MIT OR Apache-2.0
//! An initramfs of this machine's own programs, each with the libraries it is linked to: what was built here runs
//! under another kernel.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};

use super::{cpio, cpio::Node, elf};
use crate::{process::run_ok, require::find_program};

/// Where the loader looks without being told, on Debian and its derivatives and elsewhere.
const LIBRARY_DIRS: [&str; 5] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"];
/// Where they are in the payload.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// The ELF interpreter: programs name it by this path.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const STRIP_TIMEOUT: Duration = Duration::from_secs(60);

/// The tree, in the making.
#[derive(Debug)]
pub struct Payload {
    entries: BTreeMap<String, Node>,
}

impl Payload {
    /// A tree with the usual folders, where `/` and `/usr` are merged, and with a static busybox's applets.
    pub fn new(busybox: &Path) -> Result<Self> {
        let mut payload = Self { entries: BTreeMap::new() };
        for dir in ["bin", "sbin", "lib", "lib64"] {
            payload.put(dir, Node::Symlink { target: format!("usr/{dir}") });
        }
        for dir in ["dev", "proc", "sys", "tmp", "run", "root", "var/run", "etc", "usr/sbin", "usr/lib64"] {
            payload.put(dir, Node::Dir);
        }
        payload.file(&LOADER.replace("/lib64", "usr/lib64"), 0o755, read(Path::new(LOADER))?);
        payload.file("usr/bin/busybox", 0o755, read(busybox)?);
        let applets = run_ok(Command::new(busybox).arg("--list"), Duration::from_secs(10))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            payload.put(&format!("usr/bin/{applet}"), Node::Symlink { target: "busybox".to_owned() });
        }
        Ok(payload)
    }

    /// A file of the given contents; `path` has no leading slash.
    pub fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.put(path, Node::File { mode, bytes });
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.put(path, Node::Symlink { target: target.to_owned() });
    }

    /// A program of this system by its name, in `usr/bin`, in place of busybox's.
    pub fn system_program(&mut self, name: &str) -> Result<()> {
        let path = find_program(name).ok_or_else(|| anyhow!("{name} is not installed"))?;
        let bytes = read(&path)?;
        self.with_libraries(&path, &bytes)?;
        self.file(&format!("usr/bin/{name}"), 0o755, bytes);
        Ok(())
    }

    /// A program that was built here, without its debug information: that is most of it, and memory is what an
    /// initramfs costs.
    pub fn built_program(&mut self, program: &Path, to: &str) -> Result<()> {
        let dir = tempfile::tempdir().context("cannot make a folder")?;
        let stripped = dir.path().join("program");
        run_ok(Command::new("strip").arg("-o").arg(&stripped).arg(program), STRIP_TIMEOUT)
            .context("cannot strip a program: install binutils")?;
        let bytes = read(&stripped)?;
        self.with_libraries(program, &bytes)?;
        self.file(to, 0o755, bytes);
        Ok(())
    }

    /// The archive.
    pub fn pack(&self) -> Vec<u8> {
        cpio::pack(&self.entries)
    }

    fn with_libraries(&mut self, program: &Path, bytes: &[u8]) -> Result<()> {
        let mut wanted = elf::needed(bytes);
        while let Some(soname) = wanted.pop() {
            let path = format!("{LIBRARIES}/{soname}");
            if self.entries.contains_key(&path) {
                continue;
            }
            let library = library(&soname)
                .ok_or_else(|| anyhow!("{} needs {soname}, which is nowhere", program.display()))?;
            let bytes = read(&library)?;
            wanted.extend(elf::needed(&bytes));
            self.file(&path, 0o755, bytes);
        }
        Ok(())
    }

    fn put(&mut self, path: &str, node: Node) {
        let mut parent = Path::new(path);
        while let Some(dir) = parent.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            self.entries.entry(dir.to_string_lossy().into_owned()).or_insert(Node::Dir);
            parent = dir;
        }
        self.entries.insert(path.to_owned(), node);
    }
}

fn library(soname: &str) -> Option<PathBuf> {
    LIBRARY_DIRS.into_iter().map(|dir| Path::new(dir).join(soname)).find(|file| file.is_file())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_libraries() {
        let busybox = find_program("sh").unwrap();
        let mut payload = Payload { entries: BTreeMap::new() };
        payload.system_program("sh").unwrap();
        assert!(payload.entries.contains_key("usr/bin/sh"));
        let libc = payload.entries.keys().any(|path| path.starts_with("usr/lib/x86_64-linux-gnu/libc.so"));
        assert!(libc || elf::needed(&read(&busybox).unwrap()).is_empty(), "{:?}", payload.entries.keys());
    }
}
