// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's kernel and initramfs, built from the distribution's packages and cached.

mod apt;
mod cpio;
mod elf;
mod kernel;
mod kernels;
mod payload;
pub mod programs;
mod root;
mod runtimes;
mod suites;
mod uml;

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, lchown},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, bail};

use self::{apt::Apt, kernel::Kernel, root::Root};
pub use self::{
    kernels::{KernelImage, Kernels, Series},
    payload::Payload,
    runtimes::Containerd,
    uml::Uml,
};
use crate::process::run_ok;

/// What the guest is made of, besides the libraries that these need.
const PACKAGES: [&str; 8] =
    ["busybox-static", "dash", "debianutils", "ethtool", "iperf3", "iproute2", "isc-dhcp-client", "socat"];
/// Depends on the newest kernel of the cloud flavour: small, and everything for virtio.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
/// Of what the packages depend on, libraries and parts of the kernel are followed; debconf and such are not.
const FOLLOWED_PREFIXES: [&str; 6] =
    ["lib", "zlib", "linux-image-", "linux-base-", "linux-binary-", "linux-modules-"];
/// Raise it when the recipe in this folder changes: cached images are then made anew.
const RECIPE: u32 = 3;
const UNPACK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(300);

/// The guest's files, all regular files in one folder.
#[derive(Clone, Debug)]
pub struct Image {
    dir: PathBuf,
}

impl Image {
    /// The image in the workspace's cache, built when it is not there or packages have changed. `note` hears what is
    /// going on. Later calls in this process give the first one's result.
    pub fn ensure(note: &dyn Fn(&str)) -> Result<Self> {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        if let Some(image) = IMAGE.get() {
            return Ok(image.clone());
        }
        let workspace = workspace()?;
        let image = Self::ensure_in(&workspace.join(".cache/guest"), note)?;
        own_like(&workspace, &workspace.join(".cache"))?;
        Ok(IMAGE.get_or_init(|| image).clone())
    }

    /// As [`Image::ensure`], in a given cache folder.
    pub fn ensure_in(cache: &Path, note: &dyn Fn(&str)) -> Result<Self> {
        fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let lock = cache.join("lock");
        let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        // Two test binaries at once: the second waits and finds it done.
        lock.lock().context("cannot lock the cache of the guest image")?;
        let image = Self { dir: cache.join("image") };

        // As long as apt knows nothing new, the same packages would be found again.
        let lists = apt::lists_fingerprint().map(|lists| format!("{}{lists}", recipe()));
        if lists.is_some() && fs::read_to_string(image.lists()).ok() == lists {
            return Ok(image);
        }
        note("resolving packages");
        let archives = match resolve() {
            Ok(archives) => archives,
            Err(error) if image.kernel().is_file() => {
                note(&format!("using the image from the cache: {error:#}"));
                return Ok(image);
            }
            Err(error) => return Err(error.context("cannot build the guest image")),
        };
        let manifest = manifest(&archives);
        if fs::read_to_string(image.manifest()).ok().as_ref() != Some(&manifest) {
            image.build(cache, &archives, &manifest, note).context("cannot build the guest image")?;
        }
        write(&image.lists(), lists.unwrap_or_default().as_bytes())?;
        Ok(image)
    }

    /// Uncompressed kernel; QEMU enters it through PVH.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// The initramfs.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd.cpio")
    }

    /// A static busybox that runs on the host too.
    pub fn busybox(&self) -> PathBuf {
        self.dir.join("busybox")
    }

    /// Version of the kernel, as `uname -r` shows it in the guest.
    pub fn kernel_version(&self) -> Result<String> {
        let file = self.dir.join("kernel-version");
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    fn manifest(&self) -> PathBuf {
        self.dir.join("manifest")
    }

    fn lists(&self) -> PathBuf {
        self.dir.join("lists")
    }

    fn build(
        &self,
        cache: &Path,
        archives: &[apt::Archive],
        manifest: &str,
        note: &dyn Fn(&str),
    ) -> Result<()> {
        let debs = cache.join("debs");
        Apt::default().download(archives, &debs, note)?;

        let work =
            tempfile::Builder::new().prefix("build-").tempdir_in(cache).context("cannot make a folder")?;
        let unpacked = work.path().join("unpacked");
        unpack(archives, &debs, &unpacked, note)?;

        note("packing the initramfs");
        let new = work.path().join("image");
        fs::create_dir(&new).with_context(|| format!("cannot make {}", new.display()))?;
        let kernel = Kernel::find(&unpacked)?;
        write(&new.join("vmlinux"), &kernel.vmlinux()?)?;
        write(&new.join("kernel-version"), kernel.version().as_bytes())?;
        let root = Root::collect(&unpacked, &kernel)?;
        write(&new.join("initrd.cpio"), &cpio::pack(root.entries()))?;
        write(&new.join("manifest"), manifest.as_bytes())?;
        let busybox = new.join("busybox");
        fs::copy(root::busybox(&unpacked)?, &busybox)
            .with_context(|| format!("cannot write {}", busybox.display()))?;

        if self.dir.exists() {
            fs::remove_dir_all(&self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))?;
        }
        fs::rename(&new, &self.dir).with_context(|| format!("cannot make {}", self.dir.display()))
    }
}

/// Unpacks archives from the folder `debs` over each other.
fn unpack(archives: &[apt::Archive], debs: &Path, to: &Path, note: &dyn Fn(&str)) -> Result<()> {
    for archive in archives {
        note(&format!("unpacking {}", archive.package));
        run_ok(Command::new("dpkg-deb").arg("-x").arg(debs.join(&archive.file)).arg(to), UNPACK_TIMEOUT)?;
    }
    Ok(())
}

fn workspace() -> Result<PathBuf> {
    // Asked at run time first: a clone may have been moved since it was built.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = Path::new(&manifest);
    package.parent().map(Path::to_owned).ok_or_else(|| anyhow!("{} has no parent", package.display()))
}

/// Tests run as root in somebody's clone: what they leave in the cache has to be his, or he could not renew it.
fn own_like(workspace: &Path, cache: &Path) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(workspace).with_context(|| format!("cannot read {}", workspace.display()))?;
    let mut paths = vec![cache.to_owned()];
    while let Some(path) = paths.pop() {
        let meta = fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if (meta.uid(), meta.gid()) != (owner.uid(), owner.gid()) {
            lchown(&path, Some(owner.uid()), Some(owner.gid()))
                .with_context(|| format!("cannot give {} to its owner", path.display()))?;
        }
        if meta.is_dir() {
            for entry in path.read_dir().with_context(|| format!("cannot list {}", path.display()))? {
                paths.push(entry.with_context(|| format!("cannot list {}", path.display()))?.path());
            }
        }
    }
    Ok(())
}

fn require_debian() -> Result<()> {
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        if crate::require::find_program(program).is_none() {
            bail!(
                "{program} is not installed: guests are made of Debian packages, so build them on Debian or a derivative"
            );
        }
    }
    Ok(())
}

fn resolve() -> Result<Vec<apt::Archive>> {
    require_debian()?;
    let roots = [&PACKAGES[..], &[KERNEL_PACKAGE]].concat();
    let apt = Apt::default();
    let packages =
        apt.closure(&roots, |name| FOLLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))?;
    apt.archives(&packages)
}

/// Everything an image depends on; equal texts mean equal images.
fn manifest(archives: &[apt::Archive]) -> String {
    let mut text = recipe();
    for archive in archives {
        text.push_str(&format!("{} {}\n", archive.file, archive.checksum));
    }
    text
}

/// What of an image comes from this repository.
fn recipe() -> String {
    let mut text = format!("recipe {RECIPE}\n");
    for script in root::SCRIPTS {
        text.push_str(&format!("--- {} {:o}\n{}", script.path, script.mode, script.text));
    }
    text
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
