// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of Debian packages that are run from where they are unpacked: installing containerd or Prometheus would start
//! a service on somebody's machine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    apt::{Apt, Archive},
    own_like, require_debian, suites, unpack, workspace, write,
};

/// Which Debian a package is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The machine's own sources.
    Own,
    /// The newest there is. Its programs in Go run on older releases, too.
    Sid,
}

/// Packages, unpacked over each other.
#[derive(Clone, Debug)]
pub struct Unpacked {
    root: PathBuf,
}

impl Unpacked {
    /// The packages in the cache of this clone, fetched and unpacked the first time. They are not looked up again as long
    /// as they are there.
    pub fn of(packages: &[&str], release: Release) -> Result<Self> {
        let workspace = workspace()?;
        let cache = workspace.join(".cache/programs");
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let lock = File::create(cache.join("lock")).context("cannot make the lock of the cache")?;
        // Two tests at once: the second waits and finds them.
        lock.lock().context("cannot lock the cache of programs")?;
        let root = cache.join(format!("{}-{release:?}", packages.join("-")).to_lowercase());
        if !root.is_dir() {
            fetch(&cache, packages, release, &root)
                .with_context(|| format!("cannot unpack {}", packages.join(", ")))?;
            own_like(&workspace, &workspace.join(".cache"))?;
        }
        Ok(Self { root })
    }

    /// A program, by its path in the package, as in `usr/bin/ctr`.
    pub fn program(&self, path: &str) -> Result<PathBuf> {
        let program = self.root.join(path);
        if !program.is_file() {
            bail!("the package has no {path}: remove {} to fetch another version", self.root.display());
        }
        Ok(program)
    }

    /// The folder of a program.
    pub fn folder(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

fn fetch(cache: &Path, packages: &[&str], release: Release, root: &Path) -> Result<()> {
    require_debian()?;
    let note = |text: &str| eprintln!("{text}");
    let apt = match release {
        Release::Own => Apt::default(),
        // The lists that `cargo xtask vm` reads kernels from.
        Release::Sid => suites::open(&cache.with_file_name("kernels").join("apt"), &suites::KERNELS, &note)?
            .preferring("sid"),
    };
    let archives = apt.archives(&packages.iter().map(ToString::to_string).collect())?;
    let found = |package: &&&str| archives.iter().any(|archive: &Archive| archive.package == **package);
    if let Some(missing) = packages.iter().find(|package| !found(package)) {
        bail!("apt has no {missing}");
    }
    let work = tempfile::Builder::new().prefix("new-").tempdir_in(cache).context("cannot make a folder")?;
    let (debs, unpacked) = (work.path().join("debs"), work.path().join("root"));
    apt.download(&archives, &debs, &note)?;
    unpack(&archives, &debs, &unpacked, &note)?;
    write(
        &unpacked.join("packages"),
        archives.iter().map(|a| format!("{}\n", a.file)).collect::<String>().as_bytes(),
    )?;
    fs::rename(&unpacked, root).with_context(|| format!("cannot make {}", root.display()))
}
