// SPDX-License-Identifier: MIT OR Apache-2.0
//! User-mode Linux as a guest: a kernel that is a program, for tests inside machines that are themselves emulated.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};

use super::{Image, Kernels, cpio, cpio::Node, own_like, unpack, write};

const PACKAGE: &str = "user-mode-linux";
/// The newest that needs no newer C library than this project's build machines have.
const RELEASE: &str = "bookworm";
/// Where the package has the kernel.
const PROGRAM: &str = "usr/bin/linux.uml";
/// Takes the place of the QEMU guest's init, in the same tree of programs.
const INIT: &str = include_str!("../../guest/uml-init.sh");

/// Its kernel and initramfs.
#[derive(Clone, Debug)]
pub struct Uml {
    dir: PathBuf,
}

impl Uml {
    /// From the cache, or fetched and made of `image`'s programs.
    pub fn ensure(kernels: &Kernels, image: &Image, note: &dyn Fn(&str)) -> Result<Self> {
        let uml = Self { dir: kernels.folder().join("uml") };
        let apt = kernels.apt().preferring(RELEASE);
        let archives = apt.archives(&[PACKAGE.to_owned()].into())?;
        let archive = archives.first().ok_or_else(|| anyhow!("apt names no {PACKAGE}"))?;
        let programs =
            fs::read_to_string(image.manifest()).context("cannot read the guest image's manifest")?;
        let manifest = format!("{} {}\n{programs}{INIT}", archive.file, archive.checksum);
        if fs::read_to_string(uml.dir.join("manifest")).ok().as_ref() == Some(&manifest) {
            return Ok(uml);
        }
        let work = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(kernels.folder())
            .context("cannot make a folder")?;
        let (debs, unpacked, new) =
            (work.path().join("debs"), work.path().join("unpacked"), work.path().join("uml"));
        apt.download(&archives, &debs, note)?;
        unpack(&archives, &debs, &unpacked, note)?;
        fs::create_dir(&new).with_context(|| format!("cannot make {}", new.display()))?;
        let program = unpacked.join(PROGRAM);
        fs::copy(&program, new.join("linux"))
            .with_context(|| format!("cannot copy {}", program.display()))?;
        write(&new.join("initrd.cpio"), &initrd(image)?)?;
        write(&new.join("manifest"), manifest.as_bytes())?;
        if uml.dir.exists() {
            fs::remove_dir_all(&uml.dir).with_context(|| format!("cannot remove {}", uml.dir.display()))?;
        }
        fs::rename(&new, &uml.dir).with_context(|| format!("cannot make {}", uml.dir.display()))?;
        drop(work);
        own_like(kernels.workspace(), kernels.folder())?;
        Ok(uml)
    }

    /// The program.
    pub fn program(&self) -> PathBuf {
        self.dir.join("linux")
    }

    /// Its initramfs.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd.cpio")
    }

    /// The folder of both.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The QEMU guest's, and behind it an archive with another init: the kernel unpacks one over the other.
fn initrd(image: &Image) -> Result<Vec<u8>> {
    let file = image.initrd();
    let mut bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let init = Node::File { mode: 0o755, bytes: INIT.as_bytes().to_vec() };
    bytes.extend(cpio::pack(&BTreeMap::from([("init".to_owned(), init)])));
    Ok(bytes)
}
