// SPDX-License-Identifier: MIT OR Apache-2.0
//! A private BPF file system: pins in it are seen by nobody else and die with it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Iterators that the kernel itself pins into every new bpffs (kernel/bpf/preload).
const KERNELS_OWN: [&str; 2] = ["maps.debug", "progs.debug"];

/// A mounted bpffs, unmounted on drop.
#[derive(Debug)]
pub struct BpfFs {
    path: PathBuf,
}

impl BpfFs {
    /// Mounts one on `path`, which is made when it is not there.
    pub fn mount(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount a bpf file system on {}", path.display()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All pins that somebody made in it, sorted.
    pub fn pins(&self) -> Result<Vec<PathBuf>> {
        let mut pins = Vec::new();
        let mut dirs = vec![self.path.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in dir.read_dir().with_context(|| format!("cannot list {}", dir.display()))? {
                let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
                // A pin is a regular file to stat; opening it would fail.
                if path.is_dir() { dirs.push(path) } else { pins.push(path) }
            }
        }
        pins.retain(|pin| !KERNELS_OWN.iter().any(|own| *pin == self.path.join(own)));
        pins.sort();
        Ok(pins)
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.path, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.path.display());
        }
    }
}
