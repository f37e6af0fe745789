// SPDX-License-Identifier: MIT OR Apache-2.0
//! Container runtimes of several releases, unpacked from their packages beside the machine's own programs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{own_like, require_debian, suites, unpack, workspace, write};

/// Raise it when what is kept of the packages changes.
const RECIPE: u32 = 1;

/// Which containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containerd {
    /// 1.6: CRI v1 without events, no NRI.
    Bookworm,
    /// 1.7: CRI v1 with events, and NRI when it is enabled.
    Trixie,
    /// 2.x: both, and a configuration of another shape.
    Sid,
}

impl Containerd {
    /// The release that it comes from.
    pub fn release(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// A folder as `/` would be with containerd, runc and the reference CNI plugins installed: from the cache, or
    /// fetched.
    pub fn ensure(self, note: &dyn Fn(&str)) -> Result<PathBuf> {
        require_debian()?;
        let workspace = workspace()?;
        let cache = workspace.join(".cache/runtimes");
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let lock = cache.join("lock");
        let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        // Two tests at once: the second waits and finds it done.
        lock.lock().context("cannot lock the cache of container runtimes")?;
        let root = self
            .ensure_in(&cache, note)
            .with_context(|| format!("prepare containerd of {}", self.release()))?;
        own_like(&workspace, &cache)?;
        Ok(root)
    }

    fn ensure_in(self, cache: &Path, note: &dyn Fn(&str)) -> Result<PathBuf> {
        let apt = suites::open(&cache.join("apt"), &suites::RUNTIMES, note)?;
        // The others of this release: later ones need a later C library.
        let parts =
            [("bookworm", &["containernetworking-plugins", "runc"][..]), (self.release(), &["containerd"])];
        let mut sources = Vec::new();
        let mut manifest = format!("recipe {RECIPE}\n");
        for (release, packages) in parts {
            let apt = apt.preferring(release);
            let archives = apt.archives(&packages.iter().map(ToString::to_string).collect())?;
            for archive in &archives {
                manifest.push_str(&format!("{} {}\n", archive.file, archive.checksum));
            }
            sources.push((apt, archives));
        }
        let root = cache.join(self.release());
        if fs::read_to_string(root.join("manifest")).ok().as_ref() == Some(&manifest) {
            return Ok(root);
        }
        let work =
            tempfile::Builder::new().prefix("build-").tempdir_in(cache).context("cannot make a folder")?;
        let new = work.path().join("root");
        for (number, (apt, archives)) in sources.iter().enumerate() {
            let debs = work.path().join(format!("debs-{number}"));
            apt.download(archives, &debs, note)?;
            unpack(archives, &debs, &new, note)?;
        }
        write(&new.join("manifest"), manifest.as_bytes())?;
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
        }
        fs::rename(&new, &root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(root)
    }
}
